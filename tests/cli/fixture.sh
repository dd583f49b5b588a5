# Sourced by the tests of the command line. Needs CACHEREADY, the program, and CACHEREADY_SOURCE,
# the checkout; CACHEREADY_SHIM and CACHEREADY_RECORDER are the shims of tests/fault, or empty where they
# cannot be preloaded.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
: "${CACHEREADY:?is not set}" "${CACHEREADY_SOURCE:?is not set}"
TINY=$CACHEREADY_SOURCE/goldens/families/qwen3_5_moe_text
WORK=$(cd "$(mktemp -d)" && pwd -P)
trap 'rm -rf "$WORK"' EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }
skip() { echo "skipped: $*"; exit 77; }
need_shim() { [ -n "${CACHEREADY_SHIM:-}" ] || skip "the fault shim cannot be preloaded here"; }

# attempt ARGUMENTS...: runs the program; CODE is what it ended with, its streams are in
# $WORK/stdout and $WORK/stderr. run CODE ARGUMENTS...: it must end with CODE.
attempt() {
  CODE=0
  "$CACHEREADY" "$@" >"$WORK/stdout" 2>"$WORK/stderr" || CODE=$?
}
run() {
  local expected=$1
  shift
  attempt "$@"
  [ "$CODE" = "$expected" ] || { cat "$WORK/stderr"; fail "ended with $CODE, not $expected: $*"; }
}

# faulty CALLS AT DEED ARGUMENTS...: attempt with the shim (tests/fault/fault_shim.c), for paths
# below $WORK/run. The calls counted are listed in $WORK/calls.
faulty() {
  local -x CACHEREADY_FAULT_PREFIX=$WORK/run CACHEREADY_FAULT_LOG=$WORK/calls
  local -x CACHEREADY_FAULT_CALLS=$1 CACHEREADY_FAULT_AT=$2 CACHEREADY_FAULT_DO=$3
  shift 3
  CODE=0
  { env LD_PRELOAD="$CACHEREADY_SHIM" "$CACHEREADY" "$@" >"$WORK/stdout" 2>"$WORK/stderr"; } \
    2>/dev/null || CODE=$?
}

# refused WORD...: the last run said one line on stderr that has each WORD, and nothing on stdout.
refused() {
  [ ! -s "$WORK/stdout" ] || fail "stdout is not empty"
  [ "$(grep -vc '^warning: ' "$WORK/stderr")" = 1 ] || { cat "$WORK/stderr"; fail "not one line"; }
  local word
  for word in "cacheready: " "$@"; do
    grep -v '^warning: ' "$WORK/stderr" | grep -qF -- "$word" ||
      { cat "$WORK/stderr"; fail "says nothing of '$word'"; }
  done
}

same() { diff -r "$1" "$2" || fail "$1 and $2 differ"; }

# Names, kinds, sizes, times and bytes of everything below a folder.
state_of() {
  (cd "$1" && find . -printf '%P %y %m %s %i %T@\n' | sort &&
    find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# make_source FOLDER: a tiny Qwen3.5-MoE with three planted pairs in each of four layers, in three
# shards. make_text FILE [SEED]: 40 documents of token ids. make_plan: scans and plans it.
make_source() {
  "$CACHEREADY" -q synth planted "$TINY" -o "$WORK/planted" --groups 3 >/dev/null
  "$CACHEREADY" -q synth shuffled "$WORK/planted" -o "$1" --shards 3 >/dev/null
  rm -r "$WORK/planted"
}
make_text() {  # FILE [SEED]
  python3 -c 'import random, sys
r = random.Random(int(sys.argv[1]))
for d in range(40):
    print({"ids": [r.randrange(320) for _ in range(64)], "domain": "ab"[d % 2]})' "${2:-1}" | tr "'" '"' >"$1"
}
make_plan() {  # SRC TEXT PLAN SCAN
  "$CACHEREADY" -q scan "$1" -c "$2" -o "$4" --tokens 2304 --document-tokens 64 >/dev/null
  "$CACHEREADY" -q plan "$4" -o "$3" >/dev/null
}
