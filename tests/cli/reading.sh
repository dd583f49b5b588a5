#!/usr/bin/env bash
# Every way of reading gives the same bytes. One that is asked for and not there is refused; the default
# does without it. A shard that fails or shrinks while it is read is an error that names it, not a crash.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
need_shim
mkdir "$WORK/run"
src=$WORK/run/src
make_source "$src"
make_text "$WORK/run/text.jsonl"
scan=(scan "$src" -c "$WORK/run/text.jsonl" --tokens 512 --document-tokens 64)
without_uring() { CACHEREADY_FAULT_NO_URING=1 faulty read 0 none "$@"; }
# The page cache holds what was just written, and the default leaves it there.
forget() { python3 -c 'import os, sys
for path in sys.argv[1:]:
    f = os.open(path, os.O_RDONLY)
    os.fsync(f)
    os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)' "$src"/*.safetensors; }

run 0 "${scan[@]}" -o "$WORK/scan"
for way in auto direct buffered mmap; do
  run 0 --io "$way" "${scan[@]}" -o "$WORK/other"
  same "$WORK/scan" "$WORK/other"
  rm -r "$WORK/other"
done

without_uring --io uring "${scan[@]}" -o "$WORK/refused"
[ "$CODE" = 3 ] || fail "uring that is not permitted: ended with $CODE"
refused "--io uring" "not available" "Operation not permitted"
forget
without_uring -v "${scan[@]}" -o "$WORK/other"
[ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "auto without uring: ended with $CODE"; }
grep -q "io_uring is not available (Operation not permitted)" "$WORK/stderr" || fail "does not say so"
same "$WORK/scan" "$WORK/other"

# The first read of a shard by its own descriptor fails.
faulty read 0 none --io direct "${scan[@]}" -o "$WORK/run/scan"
at=$(grep -nm1 'pread.*safetensors' "$WORK/calls" | cut -d: -f1)
rm -r "$WORK/run/scan"
faulty read "$at" EIO --io direct "${scan[@]}" -o "$WORK/run/scan"
[ "$CODE" = 3 ] || fail "EIO: ended with $CODE"
refused "$src/model" "cannot be read: Input/output error"
faulty read "$at" short --io direct "${scan[@]}" -o "$WORK/run/scan"
[ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "short: ended with $CODE"; }
same "$WORK/scan" "$WORK/run/scan"

# shrinks SHARD OPTION...: it is cut when the text is opened, after the shards have been.
shrinks() {
  local shard=$1
  shift
  rm -rf "$WORK/run/scan"
  cp "$shard" "$WORK/whole"
  faulty read 0 none "$@" "${scan[@]}" -o "$WORK/run/scan"
  rm -r "$WORK/run/scan"
  at=$(grep -nm1 'open .*text.jsonl' "$WORK/calls" | cut -d: -f1)
  CACHEREADY_FAULT_FILE=$shard faulty read "$at" cut "$@" "${scan[@]}" -o "$WORK/run/scan"
  [ "$CODE" = 3 ] || fail "$*: a shard that shrinks: ended with $CODE"
  refused "$shard" "shrank" "while in use"
  [ ! -e "$WORK/run/scan/scan.json" ] || fail "$*: a scan of nothing is finished"
  cat "$WORK/whole" >"$shard"
}
for shard in "$src"/model*.safetensors; do
  for way in auto direct mmap; do shrinks "$shard" --io "$way"; done
done
