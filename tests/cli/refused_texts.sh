#!/usr/bin/env bash
# Text that cannot be used: exit 3, one line that names the file and its line, nothing left behind.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
text=$WORK/text.jsonl

refuse() {
  run 3 scan "$TINY" -c "$text" -o "$WORK/scan"
  refused "$@"
  [ ! -e "$WORK/scan" ] || fail "scan left $(ls -A "$WORK/scan")"
}
refuse "$text"
printf '{"ids": [1, 2, 3]}\n{"ids": [1, 2,\n' >"$text"; refuse "$text:2"
printf '{"ids": [1, 2, 3]}\n\n{"ids": "x"}\n' >"$text"; refuse "$text:3" "ids"
printf '{"ids": [1, -2]}\n' >"$text"; refuse "$text:1" "ids[1]"
printf '{"body": "x"}\n' >"$text"; refuse "$text" "exactly one of"
printf '{"ids": [%s 320]}\n' "$(seq -s, 0 99)," >"$text"; refuse "$text:1" "320"
printf '{"text": "words and words"}\n' >"$text"; refuse "tokenizer.json"
printf '[1, 2]\n' >"$text"; refuse "$text:1"
printf '{"ids": [1, 2, 3]}\n' >"$text"; refuse "longer documents"
: >"$text"; refuse "$text" "no document"
rm "$text"; mkdir "$text"; refuse "$text"

cp -r "$TINY" "$WORK/src"
printf '{"text": "words and words"}\n' >"$WORK/words.jsonl"
echo '{"model": {"type": "Unigram"}}' >"$WORK/src/tokenizer.json"
run 3 eval "$WORK/src" -t "$WORK/words.jsonl"
refused "tokenizer.json"
for ids in '[[1, 2], []]' '[1, "x"]' '{}' '[999]' ''; do
  printf '%s' "$ids" >"$WORK/ids.json"
  run 3 forward "$TINY" --ids "$WORK/ids.json" -o "$WORK/out.safetensors"
  refused "ids"
  [ ! -e "$WORK/out.safetensors" ] || fail "forward left a file"
done
