#!/usr/bin/env bash
# One flipped bit anywhere in a written checkpoint, a file too many or one too few: `verify` ends
# with 1 and names the file, the tensor where there is one, and the byte; so does the reader.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/src"
make_text "$WORK/text.jsonl"
make_plan "$WORK/src" "$WORK/text.jsonl" "$WORK/plan.json" "$WORK/scan"
run 0 apply "$WORK/src" "$WORK/plan.json" -o "$WORK/out"
python3 "$CACHEREADY_SOURCE/tests/python/damage.py" "$CACHEREADY" "$WORK"
