#!/usr/bin/env bash
# Copies have the same bytes by every way of reading and writing, rows across blocks and odd ends included; a way that
# is asked for and refused is an error, the default does without it, and a failing disk is never taken for a refusal.
# The limit of memory holds for copying and comparing.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
need_shim
mkdir "$WORK/run"
src=$WORK/run/src
make_source "$src"
block=$((4 << 20))
read -r gate shard < <(python3 "$CACHEREADY_SOURCE/tests/python/pad_shard.py" "$src" $((2 * block)))
head -c $((3 * block + 12345)) /dev/urandom >"$src/extra.dat"
head -c $block /dev/urandom >"$src/block.dat"
layer=$(sed -n 's/.*layers\.\([0-9]*\)\..*/\1/p' <<<"$gate")
# The row across the block is planned: experts 0 and 1 of that router.
python3 - "$src/$shard" "$gate" "$layer" "$WORK/plan.json" "$WORK/row" <<'PY'
import base64, hashlib, json, struct, sys
path, gate, layer, plan, place = sys.argv[1:]
data = open(path, "rb").read()
length = struct.unpack("<Q", data[:8])[0]
entry = json.loads(data[8:8 + length])[gate]
begin = 8 + length + entry["data_offsets"][0]
size = (entry["data_offsets"][1] - entry["data_offsets"][0]) // entry["shape"][0]
rows = [data[begin:begin + size], data[begin + size:begin + 2 * size]]
json.dump({"schema": "cacheready.plan/1", "tool_version": "", "family": "", "profile": "", "numerics_class": "",
           "scan_key": "", "layout_sha256": "", "tolerance": 1, "budget": 1, "text": {}, "untied": [], "layers": [],
           "controls": {}, "groups": [{"layer": int(layer), "members": [0, 1], "rule": "mean", "numbers": {}, "tensors": [
               {"tensor": gate, "dtype": entry["dtype"], "row": base64.b64encode(rows[1]).decode(),
                "replaced_sha256": [hashlib.sha256(row).hexdigest() for row in rows]}]}]}, open(plan, "w"))
print(begin, size, file=open(place, "w"))
PY
read -r begin size <"$WORK/row"
[ "$begin" -lt $((2 * block)) ] && [ $((begin + size)) -gt $((2 * block)) ] || fail "the row is not across a block"

# expected: what the source's files are, and the second row in the place of the first.
cp -r "$src" "$WORK/expected"
dd if="$src/$shard" of="$WORK/expected/$shard" bs=1 skip=$((begin + size)) seek="$begin" count="$size" conv=notrunc status=none
forget() { python3 -c 'import os, sys
for path in sys.argv[1:]:
    f = os.open(path, os.O_RDONLY)
    os.fsync(f)
    os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)' "$src"/*; }

apply=(apply "$src" "$WORK/plan.json" --link copy)
# written COMMAND...: it makes the expected files at $WORK/run/out.
written() {
  rm -rf "$WORK/run/out"
  "$@" -o "$WORK/run/out"
  [ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "$*: ended with $CODE"; }
  rm "$WORK/run/out/cacheready-plan.json"
  same "$WORK/run/out" "$WORK/expected"
}
attempt --io uring verify "$src" "$src"
ways=(auto uring direct buffered mmap)
if grep -q "io_uring is not available" "$WORK/stderr"; then ways=(auto direct buffered mmap); fi
for way in "${ways[@]}"; do
  forget
  written attempt --io "$way" "${apply[@]}"
  run 0 --io "$way" apply "$src" "$WORK/plan.json" --link copy -o "$WORK/run/proven"
  forget
  for threads in 1 3; do
    run 0 --json --threads "$threads" --io "$way" verify "$src" "$WORK/run/proven"
    cp "$WORK/stdout" "$WORK/verified.$threads"
    cmp "$WORK/verified.$threads" "$WORK/verified.1" || fail "$way: $threads threads verify otherwise"
    cmp "$WORK/verified.1" "$WORK/verified" 2>/dev/null || [ "$way" = auto ] || fail "$way verifies otherwise"
    cp "$WORK/verified.1" "$WORK/verified"
  done
  rm -r "$WORK/run/proven"
done
expected_hash=$(sha256sum <"$WORK/expected/$shard" | cut -d' ' -f1)
grep -q "\"sha256_out\": \"$expected_hash\"" "$WORK/verified" || fail "the hash of the patched shard is not $expected_hash"

# O_DIRECT refused in reading, in writing, or by the first write itself.
forget
for calls in read write; do
  CACHEREADY_FAULT_NO_DIRECT=$calls written faulty "$calls" 0 none "${apply[@]}"
  rm -rf "$WORK/run/out"
  CACHEREADY_FAULT_NO_DIRECT=$calls faulty "$calls" 0 none --io direct "${apply[@]}" -o "$WORK/run/out"
  [ "$CODE" = 3 ] || fail "O_DIRECT refused in $calls: ended with $CODE"
  refused "past the page cache (O_DIRECT)" "Invalid argument"
  rm -rf "$WORK"/run/out*
done
faulty write 0 none "${apply[@]}" -o "$WORK/run/out"
at=$(grep -nm1 'pwrite .*block.dat' "$WORK/calls" | cut -d: -f1)
written faulty write "$at" EINVAL "${apply[@]}"
rm -rf "$WORK/run/out"
faulty write "$at" EINVAL --io direct "${apply[@]}" -o "$WORK/run/out"
[ "$CODE" = 3 ] || fail "EINVAL of a write: ended with $CODE"
rm -rf "$WORK"/run/out*
faulty write "$at" EIO "${apply[@]}" -o "$WORK/run/out"
[ "$CODE" = 3 ] || fail "EIO: ended with $CODE"
refused "block.dat" "cannot be written: Input/output error"
rm -rf "$WORK"/run/out*
written faulty write "$at" short --io direct "${apply[@]}"
rm -r "$WORK/run/out"

# held MIB COMMAND...: within MIB.
held() {
  local limit=$1
  shift
  python3 "$CACHEREADY_SOURCE/tests/python/peak_memory.py" "$WORK/peak" "$CACHEREADY" -q --threads 2 \
    --max-memory "${limit}MiB" "$@" >/dev/null
  [ "$(cat "$WORK/peak")" -le $((limit << 20)) ] || fail "$limit MiB $*: had $(cat "$WORK/peak") bytes"
}
out=$WORK/run/out
for command in "apply $src $WORK/plan.json --link copy -o $out" "verify $src $out"; do
  # shellcheck disable=SC2086 # several words
  run 3 --threads 2 --max-memory 8MiB $command
  refused "--max-memory" "8 MiB" "needs at least"
  [ "$(ls "$WORK/run")" = src ] || [ "$(ls "$WORK/run")" = "$(printf 'out\nsrc')" ] || fail "a refused run left something"
  least=$(sed -n 's/.*needs at least \([0-9]*\) MiB.*/\1/p' "$WORK/stderr")
  # shellcheck disable=SC2086
  held $((least + 1)) --io direct $command
done
