#!/usr/bin/env bash
# The same plan and the same folder, byte for byte: run to run, with one thread or two; and the same
# plan and tensors from a source whose tensors lie in other files and in another order.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/src"
make_text "$WORK/text.jsonl"
run 0 synth shuffled "$WORK/src" -o "$WORK/shuffled" --shards 2 --seed 9

make() {  # NAME SRC THREADS
  run 0 --threads "$3" scan "$2" -c "$WORK/text.jsonl" -o "$WORK/$1.scan" --tokens 2304 \
    --document-tokens 64
  run 0 --threads "$3" plan "$WORK/$1.scan" -o "$WORK/$1.json"
  run 0 --threads "$3" apply "$2" "$WORK/$1.json" -o "$WORK/$1"
}
make one "$WORK/src" 1
make again "$WORK/src" 1
make two "$WORK/src" 2
make other "$WORK/shuffled" 2

grep -q '"members"' "$WORK/one.json" || fail "nothing was planned: nothing was tested"
for name in again two; do
  same "$WORK/one.scan" "$WORK/$name.scan"
  same "$WORK/one" "$WORK/$name"
done
for name in again two other; do cmp "$WORK/one.json" "$WORK/$name.json"; done
cmp "$WORK/one/cacheready-plan.json" "$WORK/other/cacheready-plan.json"
python3 "$CACHEREADY_SOURCE/tests/python/same_tensors.py" "$WORK/one" "$WORK/other"
