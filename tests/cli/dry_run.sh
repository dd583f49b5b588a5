#!/usr/bin/env bash
# --dry-run leaves no file, on every command that writes, and says what would be done.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
mkdir "$WORK/run"
cd "$WORK/run"
make_source src
make_text text.jsonl
make_text unseen.jsonl 2
make_plan src text.jsonl plan.json scan
echo '[[1, 2, 3, 4]]' >ids.json
run 0 apply src plan.json -o x.delta.safetensors --delta
run 0 apply src plan.json -o tied
run 0 canonicalize src -c text.jsonl -o ck --tokens 1280 --document-tokens 64
rm -r ck ck.run/report.*
state_of "$WORK/run" >"$WORK/before"

dry() {
  run 0 "$@" --dry-run
  [ -s "$WORK/stdout" ] || fail "says nothing: $*"
  state_of "$WORK/run" | diff "$WORK/before" - || fail "left something: $*"
}
dry forward src --ids ids.json -o out.safetensors
dry scan src -c text.jsonl -o scan2
dry scan src -c text.jsonl -o scan2 --part 1/2
dry merge scan -o scan2
dry plan scan -o plan2.json
dry check src plan.json -t unseen.jsonl -o checked.json --tokens 256
for link in auto reflink hardlink copy; do dry apply src plan.json -o out --link "$link"; done
dry apply src plan.json -o tied --force
dry apply src plan.json -o y.delta.safetensors --delta
dry apply src x.delta.safetensors -o out
dry apply tied x.delta.safetensors -o out --revert
dry canonicalize src -c text.jsonl -o ck2
dry report ck.run
