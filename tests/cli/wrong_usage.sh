#!/usr/bin/env bash
# A command line that means nothing ends with 2, says so on stderr, and prints nothing on stdout.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"

misused() {
  run 2 "$@"
  [ ! -s "$WORK/stdout" ] || fail "stdout is not empty: $*"
  [ -s "$WORK/stderr" ] || fail "stderr is empty: $*"
}
misused
misused frobnicate
misused inspect
misused inspect "$TINY" extra
misused inspect "$TINY" --no-such-option
misused --threads 0 inspect "$TINY"
misused -q -v inspect "$TINY"
misused scan "$TINY" -o "$WORK/scan"
misused scan "$TINY" -c text.jsonl -o "$WORK/scan" --tokens many
misused scan "$TINY" -c text.jsonl -o "$WORK/scan" --tokens -5
misused scan "$TINY" -c text.jsonl -o "$WORK/scan" --memory 1XB
misused merge -o "$WORK/scan"
misused merge "$WORK"
misused apply "$TINY" plan.json
misused apply "$TINY" plan.json -o "$WORK/out" --link softly
misused apply "$TINY" plan.json -o "$WORK/out" --delta --revert
misused verify "$TINY"
misused verify "$TINY" "$WORK" --hash md5
misused synth
misused synth fused "$TINY" -o "$WORK/out" --dtype f16

run 0 --help
run 0 apply --help
run 0 --version
grep -q '^cacheready [0-9]' "$WORK/stdout" || fail "--version says $(cat "$WORK/stdout")"
