#!/usr/bin/env bash
# kill_everywhere.sh STRIDE OPERATION...: for every STRIDE-th file call that an operation makes, the
# process is killed there, or the call fails or falls short. Whatever happens, the inputs stay as
# they are, OUT is absent or right, and the same command then makes what an undisturbed run makes.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/../cli/fixture.sh"
need_shim
STRIDE=$1
shift
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

# What the program says of a call that failed: an error that names a file of ours, or nothing where
# it can do without (a reflink, space set aside, a file to tidy up).
check_told() {
  case $1 in
    kill | torn) [ "$CODE" = 137 ] || fail "$WHERE: ended with $CODE" ;;
    short) [ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "$WHERE: ended with $CODE"; } ;;
    *)
      if [ "$CODE" = 0 ]; then
        IGNORED=$((IGNORED + 1))
        diff -r "$OUT" "$WORK/expected" || fail "$WHERE: ended with 0, but is wrong"
        return
      fi
      [ "$CODE" = 3 ] || fail "$WHERE: ended with $CODE"
      refused "$WORK/run/" || fail "$WHERE"
      ;;
  esac
}

disturb() {
  local calls=$1 at=$2 deed=$3
  WHERE="$OPERATION: $deed at $(sed -n "${at}p" "$WORK/$calls")"
  clear_out
  faulty "$calls" "$at" "$deed" "${COMMAND[@]}"
  check_told "$deed"
  check_harmless
  check_restart
  POINTS=$((POINTS + 1))
}

# Every STRIDE-th call, and the last one.
sweep() {
  local calls=$1 deed at total
  shift
  clear_out
  faulty "$calls" 0 none "${COMMAND[@]}"
  [ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "$OPERATION: the shim alone makes it fail"; }
  cp "$WORK/calls" "$WORK/$calls"
  total=$(wc -l <"$WORK/$calls")
  for deed in "$@"; do
    for ((at = 1; at <= total; at += STRIDE)); do disturb "$calls" "$at" "$deed"; done
    if [ $(((total - 1) % STRIDE)) != 0 ]; then disturb "$calls" "$total" "$deed"; fi
  done
  echo "$OPERATION: $total $calls calls, $*"
}

POINTS=0 IGNORED=0
for OPERATION in "$@"; do
  set_command "$OPERATION"
  clear_out
  run 0 "${COMMAND[@]}"
  rm -rf "$WORK/expected"
  cp -a "$OUT" "$WORK/expected"
  sweep change kill EIO
  sweep space ENOSPC
  sweep write torn short
  sweep read EIO short
done
echo "$POINTS disturbances, of which $IGNORED made no difference"
