#!/usr/bin/env bash
# Every command: with --json stdout is one JSON object with a "schema"; in a pipe stderr has no
# progress line; with -q it has nothing at all.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_text "$WORK/text.jsonl"
echo '[[1, 2, 3, 4]]' >"$WORK/ids.json"
cd "$WORK"
ckpt=src

check() {
  run 0 "$@" --json
  python3 -c 'import json, sys
assert json.load(open(sys.argv[1]))["schema"].startswith("cacheready.")' stdout ||
    fail "no JSON with a schema: $*"
  if grep -q "$(printf '[\r\033]')" stderr; then fail "progress in a pipe: $*"; fi
}
for quiet in "" -q; do
  rm -rf src scan parts merged plan.json checked.json x.delta.safetensors out ck ck.run shuffled fused
  check $quiet synth planted "$TINY" -o src --groups 3
  check $quiet synth shuffled src -o shuffled --shards 2
  check $quiet synth fused src -o fused
  check $quiet inspect src
  check $quiet forward src --ids ids.json -o out.safetensors
  check $quiet scan src -c text.jsonl -o scan --tokens 1536 --document-tokens 64
  check $quiet scan src -c text.jsonl -o parts --tokens 64 --document-tokens 64 --part 1/1
  check $quiet merge parts/part-0001-of-0001 -o merged
  check $quiet plan scan -o plan.json
  check $quiet check src plan.json -t text.jsonl -o checked.json --tokens 512
  check $quiet apply src plan.json -o out
  check $quiet apply src plan.json -o x.delta.safetensors --delta
  check $quiet apply out x.delta.safetensors --revert -o reverted$quiet
  check $quiet verify src out
  check $quiet eval src out -t text.jsonl --tokens 512
  check $quiet canonicalize src -c text.jsonl -o ck --tokens 1280 --document-tokens 64
  check $quiet report ck.run
done
