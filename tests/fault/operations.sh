# Sourced by the tests that disturb the program: what is disturbed, and what must hold after it. The inputs lie in
# $IN, all that an operation makes in $OUT.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "${BASH_SOURCE[0]}")/../cli/fixture.sh"
need_shim
IN=$WORK/run/in
OUT=$WORK/run/out
mkdir -p "$IN" "$OUT"
make_source "$IN/src"
make_text "$IN/text.jsonl"
make_plan "$IN/src" "$IN/text.jsonl" "$IN/plan.json" "$IN/scan"
"$CACHEREADY" -q apply "$IN/src" "$IN/plan.json" -o "$IN/x.delta.safetensors" --delta >/dev/null
"$CACHEREADY" -q apply "$IN/src" "$IN/plan.json" -o "$IN/tied" >/dev/null
"$CACHEREADY" -q apply "$IN/tied" "$IN/x.delta.safetensors" --revert -o "$IN/old" >/dev/null
state_of "$IN" >"$WORK/inputs"

# What each operation runs. All that it makes lies in $OUT; a checkpoint is $OUT/ck.
set_command() {
  case $1 in
    auto | copy | hardlink) COMMAND=(apply "$IN/src" "$IN/plan.json" -o "$OUT/ck" --link "$1") ;;
    direct) COMMAND=(--io direct apply "$IN/src" "$IN/plan.json" -o "$OUT/ck" --link copy) ;;
    force) COMMAND=(apply "$IN/src" "$IN/plan.json" -o "$OUT/ck" --force) ;;
    from-delta) COMMAND=(apply "$IN/src" "$IN/x.delta.safetensors" -o "$OUT/ck") ;;
    revert) COMMAND=(apply "$IN/tied" "$IN/x.delta.safetensors" --revert -o "$OUT/ck") ;;
    delta) COMMAND=(apply "$IN/src" "$IN/plan.json" --delta -o "$OUT/y.delta.safetensors") ;;
    plan) COMMAND=(plan "$IN/scan" -o "$OUT/plan.json") ;;
    scan) COMMAND=(scan "$IN/src" -c "$IN/text.jsonl" -o "$OUT/scan" --tokens 512
                   --document-tokens 64) ;;
    canonicalize) COMMAND=(-q canonicalize "$IN/src" -c "$IN/text.jsonl" -o "$OUT/ck" --tokens 1280
                           --document-tokens 64 --check-tokens 256 --eval-tokens 128) ;;
    *) fail "no such operation: $1" ;;
  esac
}

clear_out() {
  rm -rf "$OUT"
  mkdir "$OUT"
  if [ "$OPERATION" = force ]; then cp -a "$IN/old" "$OUT/ck"; fi
}

# What must hold whenever a process has ended, however it ended.
check_harmless() {
  state_of "$IN" | cmp -s - "$WORK/inputs" || fail "$WHERE: an input was touched"
  local source=$IN/src
  if [ "$OPERATION" = revert ]; then source=$IN/tied; fi
  local file
  for file in "$OUT/plan.json" "$OUT/y.delta.safetensors"; do
    [ ! -e "$file" ] || cmp "$file" "$WORK/expected/$(basename "$file")" || fail "$WHERE: $file is wrong"
  done
  [ -e "$OUT/ck" ] || return 0
  if [ "$OPERATION" = force ] && diff -rq "$OUT/ck" "$IN/old" >/dev/null; then return 0; fi
  if [ "$OPERATION" = revert ]; then
    same "$OUT/ck" "$WORK/expected/ck"
  else
    "$CACHEREADY" -q verify "$source" "$OUT/ck" --hash none >/dev/null || fail "$WHERE: OUT is wrong"
  fi
}

# The same command once more, undisturbed: it makes what it would have made at once, and leaves
# nothing else behind, except that a kill leaves the temporary file of a lone file. Where only the
# very last step was disturbed, OUT is whole already and is not written a second time.
check_restart() {
  attempt "${COMMAND[@]}"
  if [ "$CODE" = 3 ] && [ -e "$OUT/ck" ]; then refused "exists and is not empty"; CODE=0; fi
  [ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "$WHERE: the restart ended with $CODE"; }
  local -a but=()
  case $OPERATION in delta | plan | canonicalize) but=(-x '.*.tmp') ;; esac
  diff -r "${but[@]}" "$OUT" "$WORK/expected" || fail "$WHERE: the restart made something else"
}

# What OPERATION makes undisturbed, in $WORK/expected.
make_expected() {
  set_command "$OPERATION"
  clear_out
  run 0 "${COMMAND[@]}"
  rm -rf "$WORK/expected"
  cp -a "$OUT" "$WORK/expected"
}
