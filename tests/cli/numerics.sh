#!/usr/bin/env bash
# The numerics class: named in what is made, never mixed, refused where it is too coarse.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_text "$WORK/text.jsonl"
reference=$CACHEREADY_SOURCE/models/reference-fp8
bf16=bf16-avx512-1  # by its name, so that it runs on any CPU

says() { grep -qF "$1" "$WORK/stdout" || { cat "$WORK/stdout"; fail "does not say '$1'"; }; }
scan() {  # SRC FOLDER OPTION...
  attempt scan "$1" -c "$WORK/text.jsonl" -o "$WORK/$2" --tokens 64 --document-tokens 64 "${@:3}"
}

# forward: another result, and it says of which class.
echo '[[1, 2, 3, 4, 5]]' >"$WORK/ids.json"
run 0 forward "$reference" --ids "$WORK/ids.json" -o "$WORK/fp32.safetensors"
says fp32-chain-1
run 0 --json forward "$reference" --ids "$WORK/ids.json" -o "$WORK/bf16.safetensors" --numerics "$bf16"
says "\"numerics_class\": \"$bf16\""
! cmp -s "$WORK/fp32.safetensors" "$WORK/bf16.safetensors" || fail "the class changes nothing"
run 3 forward "$reference" --ids "$WORK/ids.json" -o "$WORK/other.safetensors" --numerics fp17
refused "'fp17'" "bf16-amx-1"

# What a scan would take is said of that class.
run 0 scan "$reference" -c "$WORK/text.jsonl" -o "$WORK/none" --numerics "$bf16" --dry-run
says "TFLOP in $bf16 at"
says "in fp32 at"
run 0 scan "$reference" -c "$WORK/text.jsonl" -o "$WORK/none" --dry-run
! grep -q "in fp32 at" "$WORK/stdout" || fail "tells apart what is all fp32"

# A scan of another class is another scan.
scan "$reference" fp32 --part 1/2
[ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "ended with $CODE"; }
says fp32-chain-1
scan "$reference" fp32 --part 1/2 --numerics "$bf16"
[ "$CODE" = 3 ] || fail "went on in another class"
scan "$reference" bf16 --part 2/2 --numerics "$bf16"
[ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "ended with $CODE"; }
says "$bf16"
run 3 merge "$WORK/fp32/part-0001-of-0002" "$WORK/bf16/part-0002-of-0002" -o "$WORK/merged"
refused "numerics classes" fp32-chain-1 "$bf16"

# bf16 weights served in bf16: too near the error of the class. "auto" knows that.
scan "$TINY" tiny --numerics "$bf16"
[ "$CODE" = 3 ] || fail "measured bf16-tp1 in $bf16"
refused "layer 0" "$bf16" "--numerics fp32"
[ ! -e "$WORK/tiny/scan.json" ] || fail "a finished scan is there"
scan "$TINY" exact
[ "$CODE" = 0 ] || fail "ended with $CODE"
scan "$TINY" auto --numerics auto
[ "$CODE" = 0 ] || fail "ended with $CODE"
same "$WORK/exact" "$WORK/auto"
