#!/usr/bin/env bash
# kill_everywhere.sh STRIDE OPERATION[:CALLS]...: for every STRIDE-th file call that an operation makes,
# the process is killed there, or the call fails or falls short. Whatever happens, the inputs stay as
# they are, OUT is absent or right, and the same command then makes what an undisturbed run makes.
# STRIDE "kinds": one call of every kind (name and file, numbers in it aside), the first of them by one
# deed, the last by the other. CALLS: change, space, write or read, joined by commas; default: all.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/operations.sh"
STRIDE=$1
shift
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

# chosen CALLS LAST: the numbers of the calls to disturb.
chosen() {
  local total
  total=$(wc -l <"$WORK/$1")
  if [ "$STRIDE" != kinds ]; then
    seq 1 "$STRIDE" "$total"
    [ $(((total - 1) % STRIDE)) = 0 ] || echo "$total"
    return
  fi
  awk -v last="$2" '{ kind = substr($0, index($0, " ")); gsub(/[0-9]+/, "#", kind)
                      if (last || !(kind in at)) at[kind] = NR }
                    END { for (kind in at) print at[kind] }' "$WORK/$1" | sort -n
}

# sweep CALLS DEED...
sweep() {
  local calls=$1 deed at last=0
  shift
  [[ ,$CALLS, == *,$calls,* ]] || return 0
  clear_out
  faulty "$calls" 0 none "${COMMAND[@]}"
  [ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "$OPERATION: the shim alone makes it fail"; }
  cp "$WORK/calls" "$WORK/$calls"
  for deed in "$@"; do
    for at in $(chosen "$calls" "$last"); do disturb "$calls" "$at" "$deed"; done
    last=1
  done
  echo "$OPERATION: $(wc -l <"$WORK/$calls") $calls calls, $*"
}

POINTS=0 IGNORED=0
for OPERATION in "$@"; do
  CALLS=change,space,write,read
  if [[ $OPERATION == *:* ]]; then
    CALLS=${OPERATION#*:}
    OPERATION=${OPERATION%%:*}
  fi
  make_expected
  sweep change kill EIO
  sweep space ENOSPC
  sweep write torn short
  sweep read EIO short
done
echo "$POINTS disturbances, of which $IGNORED made no difference"
