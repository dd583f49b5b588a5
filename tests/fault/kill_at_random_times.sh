#!/usr/bin/env bash
# kill_at_random_times.sh TIMES SEED OPERATION...: each operation is killed TIMES times, at moments between its start and its end
# that SEED chooses as shares of how long it takes undisturbed. The rules of kill_everywhere.sh hold: unlike there, a kill
# comes in the middle of anything.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/operations.sh"
TIMES=$1 SEED=$2
shift 2

# killed SECONDS: the command, killed after so long; ENDED is what it ended with.
killed() {
  "$CACHEREADY" "${COMMAND[@]}" >"$WORK/stdout" 2>"$WORK/stderr" &
  local process=$!
  sleep "$1"
  kill -KILL "$process" 2>/dev/null || true
  ENDED=0
  { wait "$process" || ENDED=$?; } 2>/dev/null
}

# One that has ended before its kill counts for nothing: it is tried again at a moment that is earlier by as much as the
# operation was faster.
for OPERATION in "$@"; do
  make_expected
  clear_out
  begin=$(date +%s%N)
  run 0 "${COMMAND[@]}"
  duration=$((($(date +%s%N) - begin) / 1000000))  # in ms
  kills=0
  while read -r share; do
    while true; do
      moment=$((duration * share / 10000))
      WHERE="$OPERATION: killed after $moment ms"
      clear_out
      killed "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
      [ "$ENDED" = 137 ] || [ "$ENDED" = 0 ] || { cat "$WORK/stderr"; fail "$WHERE: ended with $ENDED"; }
      check_harmless
      check_restart
      [ "$ENDED" = 137 ] && break
      duration=$((duration * 9 / 10))
    done
    kills=$((kills + 1))
  done < <(python3 -c 'import random, sys
source = random.Random(sys.argv[1] + sys.argv[2])
print(*(source.randrange(10000) for _ in range(int(sys.argv[3]))), sep="\n")' "$SEED" "$OPERATION" "$TIMES")
  echo "$OPERATION: killed $kills times"
done
