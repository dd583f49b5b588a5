#!/usr/bin/env bash
# What `verify` says of a written checkpoint, an independent reader says, too: the same number of
# changed bytes, and that they are exactly the planned rows; with every way of making the files.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/src"
make_text "$WORK/text.jsonl"
make_plan "$WORK/src" "$WORK/text.jsonl" "$WORK/plan.json" "$WORK/scan"
reader=$CACHEREADY_SOURCE/tests/python/compare_checkpoints.py
changed() { python3 -c 'import json, sys; print(json.load(sys.stdin)["bytes_changed"])'; }

for link in auto copy hardlink; do
  run 0 apply "$WORK/src" "$WORK/plan.json" -o "$WORK/out" --link "$link"
  run 0 verify "$WORK/src" "$WORK/out" --json
  ours=$(changed <"$WORK/stdout")
  theirs=$(python3 "$reader" "$WORK/src" "$WORK/out" "$WORK/plan.json" | changed)
  [ "$ours" = "$theirs" ] || fail "verify counts $ours changed bytes, the reader $theirs"
  [ "$ours" -gt 100 ] || fail "only $ours bytes changed: nothing was tested"
  rm -r "$WORK/out"
done
