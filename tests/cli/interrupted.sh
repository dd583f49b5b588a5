#!/usr/bin/env bash
# SIGINT or SIGTERM: the scan stops at a layer and ends with 75, the writer at a file; the same
# command goes on to the bytes of an undisturbed run, and a second signal ends the process at once.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
need_shim
make_source "$WORK/src"
make_text "$WORK/text.jsonl"
mkdir "$WORK/run"
scan=(scan "$WORK/src" -c "$WORK/text.jsonl" -o "$WORK/run/scan" --tokens 2304 --document-tokens 64)
faulty change 0 none "${scan[@]}"
mv "$WORK/run/scan" "$WORK/scan"
grep -n 'write .*/journal' "$WORK/calls" | cut -d: -f1 >"$WORK/commits"
[ "$(wc -l <"$WORK/commits")" = 4 ] || fail "expected a journal line for each of four layers"

for signal in SIGINT SIGTERM; do
  for layer in 1 2; do
    faulty change "$(sed -n "${layer}p" "$WORK/commits")" "$signal" "${scan[@]}"
    [ "$CODE" = 75 ] || fail "$signal in layer $layer: ended with $CODE"
    refused "run the same command again"
    # The next layer runs while this one is written: the signal may still find it at its beginning.
    kept=$(grep -c '^layer' "$WORK/run/scan/journal")
    [ "$kept" = "$layer" ] || [ "$kept" = $((layer + 1)) ] || fail "$kept layers are kept, not $layer"
    run 0 "${scan[@]}"
    grep -q "going on at layer $kept" "$WORK/stderr" || fail "it started again from the beginning"
    same "$WORK/scan" "$WORK/run/scan"
    rm -r "$WORK/run/scan"
  done
done

run 0 plan "$WORK/scan" -o "$WORK/plan.json"
apply=(apply "$WORK/src" "$WORK/plan.json" -o "$WORK/run/out")
run 0 apply "$WORK/src" "$WORK/plan.json" -o "$WORK/out"
faulty change 20 SIGTERM "${apply[@]}"
[ "$CODE" = 75 ] || fail "apply: ended with $CODE"
refused "run the same command again"
[ ! -e "$WORK/run/out" ] || fail "apply: OUT is there"
run 0 "${apply[@]}"
same "$WORK/out" "$WORK/run/out"
[ "$(ls "$WORK/run")" = out ] || fail "apply left something behind: $(ls "$WORK/run")"
