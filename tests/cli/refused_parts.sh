#!/usr/bin/env bash
# Parts that do not make one scan: exit 3, one line that says in what they differ, no output.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/src"
"$CACHEREADY" -q synth planted "$TINY" -o "$WORK/other" --groups 2 >/dev/null
make_text "$WORK/text.jsonl"
make_text "$WORK/unseen.jsonl" 2

scan() {  # FOLDER PART OPTION...: a part of a scan of $WORK/src over $WORK/text.jsonl
  run 0 scan "${SRC:-$WORK/src}" -c "${TEXT:-$WORK/text.jsonl}" -o "$WORK/$1" --part "$2" \
    --tokens "${TOKENS:-256}" --document-tokens 64 "${@:3}"
}
scan a 1/2
scan a 2/2
one=$WORK/a/part-0001-of-0002
two=$WORK/a/part-0002-of-0002

refuse() {  # WORD PART...
  run 3 merge "${@:2}" -o "$WORK/out"
  refused "$1"
  [ ! -e "$WORK/out" ] || fail "left an output: $1"
}
refuse "these are missing: 2" "$one"
refuse "both part 1 of 2" "$one" "$two" "$one"
refuse "no finished scan" "$one" "$WORK/absent"
scan thirds 3/3
refuse "numbers of parts: 2 and 3" "$one" "$two" "$WORK/thirds/part-0003-of-0003"
run 0 scan "$WORK/src" -c "$WORK/text.jsonl" -o "$WORK/whole" --tokens 256 --document-tokens 64
refuse "numbers of parts: 2 and 1" "$one" "$two" "$WORK/whole"

differ() {  # WORD OPTION...: part 2 of a scan with these options
  rm -rf "$WORK/b"
  scan b 2/2 "${@:2}"
  refuse "$1" "$one" "$WORK/b/part-0002-of-0002"
}
differ "profiles: 'bf16-tp1' and 'fp32'" --profile fp32
differ "seeds: '0' and '1'" --seed 1
TOKENS=320 differ "option 'tokens': 256 and 320"
differ "option 'tolerance': 1.0 and 2.0" --tolerance 2
SRC=$WORK/other differ "config, router tensors or tokenizer"
cp "$WORK/b/part-0002-of-0002/layer-0001.safetensors" "$WORK/foreign.safetensors"
TEXT=$WORK/unseen.jsonl differ "probe_documents"

# What no command line makes of this text: another numerics class, records of another checkpoint or part.
cp -r "$two" "$WORK/changed"
sed -i 's/"numerics_class": "fp32/"numerics_class": "bf16/' "$WORK/changed/scan.json"
refuse "numerics classes" "$one" "$WORK/changed"
cp "$two/scan.json" "$WORK/changed"
for record in "$WORK/foreign.safetensors:the router" "$WORK/whole/layer-0001.safetensors:256 tokens"; do
  cp "${record%%:*}" "$WORK/changed/layer-0001.safetensors"
  run 3 merge "$one" "$WORK/changed" -o "$WORK/out"
  refused "layer 1" "part 2 of 2" "${record#*:}"
  [ ! -e "$WORK/out/scan.json" ] || fail "a finished scan is there"
done
rm -r "$WORK/out" "$WORK/changed/layer-0001.safetensors"
refuse "layer-0001.safetensors: is missing" "$one" "$WORK/changed"

# The output: a part, another scan, an unfinished scan.
run 3 merge "$one" "$two" -o "$two" --fresh
refused "one of the parts"
cp -r "$WORK/whole" "$WORK/out"
run 0 merge "$one" "$two" -o "$WORK/out"  # it is there already
run 3 merge "$WORK/thirds"/* "$one" -o "$WORK/out"
rm -r "$WORK/out"
cp -r "$WORK/b/part-0002-of-0002" "$WORK/out"
run 3 merge "$one" "$two" -o "$WORK/out"
refused "holds a scan of another"
run 0 merge "$one" "$two" -o "$WORK/out" --fresh
same "$WORK/whole" "$WORK/out"
rm "$WORK/out/scan.json"
echo x >"$WORK/out/journal"
run 3 merge "$one" "$two" -o "$WORK/out"
refused "unfinished scan"
