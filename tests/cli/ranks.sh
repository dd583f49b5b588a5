#!/usr/bin/env bash
# `--part auto` under each launcher's variables, and under a real mpirun: one command line for all
# ranks, then merge, then the plan of the unsplit scan.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/src"
make_text "$WORK/text.jsonl"
unset RANK WORLD_SIZE "${!SLURM_@}" "${!OMPI_@}"
scan=(scan "$WORK/src" -c "$WORK/text.jsonl" --tokens 2304 --document-tokens 64)

launched() {  # PART VARIABLE=VALUE...: a dry run makes no folder, so this scans a little
  (
    export "${@:2}"
    run 0 scan "$WORK/src" -c "$WORK/text.jsonl" --tokens 64 --document-tokens 64 -o "$WORK/ranks" --part auto
  )
  [ "$(ls "$WORK/ranks")" = "$1" ] || fail "${*:2}: made $(ls "$WORK/ranks"), not $1"
  rm -r "$WORK/ranks"
}
launched part-0003-of-0004 SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=1 SLURM_ARRAY_TASK_MAX=4 SLURM_ARRAY_TASK_COUNT=4
launched part-0001-of-0008 SLURM_PROCID=0 SLURM_NTASKS=8
launched part-0016-of-0016 OMPI_COMM_WORLD_RANK=15 OMPI_COMM_WORLD_SIZE=16
launched part-0002-of-0002 RANK=1 WORLD_SIZE=2

run 3 "${scan[@]}" -o "$WORK/ranks" --part auto
refused "--part auto" "--part I/N"
export RANK=1
run 3 "${scan[@]}" -o "$WORK/ranks" --part auto
refused "WORLD_SIZE is not set"
run 3 "${scan[@]}" -o "$WORK/ranks" --part 3/2
refused "'3/2'"
[ ! -e "$WORK/ranks" ] || fail "a refused part left a folder"
unset RANK

command -v mpirun >/dev/null || skip "no mpirun"
mpirun -n 2 --allow-run-as-root --oversubscribe "$CACHEREADY" -q "${scan[@]}" -o "$WORK/parts" --part auto \
  >"$WORK/stdout" 2>"$WORK/stderr" || { cat "$WORK/stderr"; fail "mpirun: ended with $?"; }
[ "$(ls "$WORK/parts" | tr '\n' ' ')" = "part-0001-of-0002 part-0002-of-0002 " ] || fail "made $(ls "$WORK/parts")"
run 0 merge "$WORK/parts"/* -o "$WORK/merged"
run 0 "${scan[@]}" -o "$WORK/whole"
run 0 plan "$WORK/merged" -o "$WORK/merged.json"
run 0 plan "$WORK/whole" -o "$WORK/whole.json"
cmp "$WORK/whole.json" "$WORK/merged.json" || fail "the parts of mpirun give another plan"
