#!/usr/bin/env bash
# crash_replay.sh STRIDE RANDOM OPERATION...: the machine crashes. All calls that change files are recorded while an operation
# runs; of every point between them, what a disk may hold that has lost what was not synced (and in RANDOM ways some of it) is
# built, every STRIDE-th of these states. In each of them the rules of kill_everywhere.sh hold.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/operations.sh"
STRIDE=$1 RANDOM_STATES=$2
shift 2
states() { python3 "$CACHEREADY_SOURCE/tests/fault/crash_states.py" "$@"; }
RECORD=$WORK/record

record() {
  clear_out
  rm -rf "$RECORD"
  mkdir "$RECORD"
  states before "$RECORD" "$OUT"
  CODE=0
  CACHEREADY_RECORD=$RECORD CACHEREADY_RECORD_PREFIX=$OUT LD_PRELOAD=$CACHEREADY_RECORDER \
    "$CACHEREADY" "${COMMAND[@]}" >"$WORK/stdout" 2>"$WORK/stderr" || CODE=$?
  [ "$CODE" = 0 ] || { cat "$WORK/stderr"; fail "$OPERATION: recorded, it ended with $CODE"; }
  same "$OUT" "$WORK/expected"
  # What was recorded is all that happened.
  mv "$OUT" "$WORK/recorded"
  states build "$RECORD" end all "$OUT"
  diff -r "$OUT" "$WORK/recorded" || fail "$OPERATION: some calls were not recorded"
  rm -r "$WORK/recorded"
}

# replay STRIDE: of what was recorded.
replay() {
  WHERE="$OPERATION: a crash after its end"
  states build "$RECORD" end lost "$OUT"
  diff -r "$OUT" "$WORK/expected" || fail "$OPERATION: not all is durable when it ends"
  states list "$RECORD" "$RANDOM_STATES" "$1" >"$WORK/states"
  while read -r point kind; do
    WHERE="$OPERATION: crash before call $((point + 1)) ($(sed -n "$((point + 1))p" "$RECORD/log" | cut -c1-200)), $kind"
    states build "$RECORD" "$point" "$kind" "$OUT"
    check_harmless
    check_restart
  done <"$WORK/states"
}

# notice: with any fsync taken out of the record of an operation, some state breaks a rule: so this test notices.
notice() {
  cp "$RECORD/log" "$WORK/log"
  local line
  for line in $(grep -n '^sync' "$WORK/log" | cut -d: -f1); do
    sed "${line}d" "$WORK/log" >"$RECORD/log"
    if (trap - EXIT; replay 1) >"$WORK/noticed" 2>&1; then
      MISSED="$MISSED, after $(sed -n "$((line - 1))p" "$WORK/log" | tr '\t' ' ' | cut -c1-200)"
    fi
  done
  cp "$WORK/log" "$RECORD/log"
}

TOTAL=0 MISSED=
for OPERATION in "$@"; do
  if [ "$OPERATION" = notice ]; then
    notice
    continue
  fi
  make_expected
  record
  replay "$STRIDE"
  TOTAL=$((TOTAL + $(wc -l <"$WORK/states")))
  echo "$OPERATION: $(wc -l <"$RECORD/log") calls, $(wc -l <"$WORK/states") states"
done
echo "$TOTAL states after a crash"
[ -z "$MISSED" ] || fail "an fsync taken out is not noticed$MISSED"
