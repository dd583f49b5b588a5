#!/usr/bin/env bash
# A scan in 1, 4 and 16 parts, an empty one among them, merged: the bytes of the unsplit scan, and so
# its plan. A part that is stopped goes on; a merge that is killed is run again.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/src"
make_text "$WORK/text.jsonl"
scan=(scan "$WORK/src" -c "$WORK/text.jsonl" --tokens 2304 --document-tokens 640)
# One long document reaches over whole shares of the text.
python3 -c 'import json, random
print(json.dumps({"ids": [random.Random(9).randrange(320) for _ in range(640)], "domain": "c"}))' >>"$WORK/text.jsonl"
run 0 "${scan[@]}" -o "$WORK/whole"
run 0 plan "$WORK/whole" -o "$WORK/whole.json"
grep -q '"members"' "$WORK/whole.json" || fail "the plan ties nothing"

for n in 1 4 16; do
  for i in $(seq "$n"); do
    run 0 "${scan[@]}" -o "$WORK/parts-$n" --part "$i/$n"
  done
  run 0 merge "$WORK/parts-$n"/part-* -o "$WORK/merged-$n"
  same "$WORK/whole" "$WORK/merged-$n"
  run 0 plan "$WORK/merged-$n" -o "$WORK/$n.json"
  cmp "$WORK/whole.json" "$WORK/$n.json" || fail "$n parts give another plan"
done
python3 - "$WORK/parts-16" <<'PY' || fail "no part is empty"
import json, pathlib, struct, sys
def tokens(part):
    with open(part / "layer-0000.safetensors", "rb") as f:
        return json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))["x_norm"]["shape"][0]
counts = [tokens(part) for part in pathlib.Path(sys.argv[1]).iterdir()]
sys.exit(0 if sum(counts) == 2304 and 0 in counts else 1)
PY

run 3 plan "$WORK/parts-4/part-0002-of-0004" -o "$WORK/part.json"
refused "part 2 of 4" "cacheready merge"

need_shim
mkdir "$WORK/run"
stopped=("${scan[@]}" -o "$WORK/run/parts" --part 2/4)
faulty change 0 none "${stopped[@]}"
commit=$(grep -n 'write .*/journal' "$WORK/calls" | cut -d: -f1 | sed -n 2p)
rm -r "$WORK/run/parts"
faulty change "$commit" SIGTERM "${stopped[@]}"
[ "$CODE" = 75 ] || fail "SIGTERM: ended with $CODE"
run 3 merge "$WORK/run/parts/part-0002-of-0004" "$WORK"/parts-4/part-000[134]* -o "$WORK/run/merged"
refused "no finished scan"
run 0 "${stopped[@]}"
grep -q "going on at layer [23]" "$WORK/stderr" || fail "it started again from the beginning"
parts=("$WORK/run/parts/part-0002-of-0004" "$WORK"/parts-4/part-000[134]*)
run 0 merge "${parts[@]}" -o "$WORK/run/merged"
same "$WORK/whole" "$WORK/run/merged"

for deed in SIGTERM kill ENOSPC; do
  rm -r "$WORK/run/merged"
  faulty change 12 "$deed" merge "${parts[@]}" -o "$WORK/run/merged"
  [ "$CODE" != 0 ] || fail "$deed: ended with 0"
  [ ! -e "$WORK/run/merged/scan.json" ] || fail "$deed: a finished scan is there"
  run 0 merge "${parts[@]}" -o "$WORK/run/merged"
  same "$WORK/whole" "$WORK/run/merged"
done
