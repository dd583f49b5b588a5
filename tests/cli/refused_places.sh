#!/usr/bin/env bash
# An output that would harm something or cannot be made: exit 3, one line that names it, nothing new.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
mkdir "$WORK/run"
src=$WORK/run/src
make_source "$src"
make_text "$WORK/text.jsonl"
make_plan "$src" "$WORK/text.jsonl" "$WORK/plan.json" "$WORK/scan"
mkdir "$WORK/run/full" "$WORK/run/other"
echo precious >"$WORK/run/full/file"
echo precious >"$WORK/run/file"
ln -s src "$WORK/run/alias"
state_of "$WORK/run" >"$WORK/before"

unharmed() { state_of "$WORK/run" | diff "$WORK/before" - || fail "something changed: $*"; }
refuse() {  # OUT WORD...
  run 3 apply "$src" "$WORK/plan.json" -o "$1" ${FORCE:-}
  refused "${@:2}"
  unharmed "$@"
}
refuse "$src" "source folder"
refuse "$src/out" "inside it"
refuse "$WORK/run/alias" "not a folder"
refuse "$WORK/run/alias/out" "inside it"
refuse "$WORK/run" "lies inside it"
refuse "$WORK/run/full" "not empty"
FORCE=--force refuse "$WORK/run/full" "no checkpoint"
FORCE=--force refuse "$src" "source folder"
refuse "$WORK/run/file" "not a folder"
refuse "$WORK/run/absent/out" "$WORK/run/absent"
for out in "$src" "$WORK/run/absent/x.delta.safetensors" "$WORK/run/x.json"; do
  run 3 apply "$src" "$WORK/plan.json" --delta -o "$out"
  refused "$out"
  unharmed "$out"
done
run 3 canonicalize "$src" -c "$WORK/text.jsonl" -o "$src/out"
refused "$src/out"
unharmed canonicalize
[ -n "${CACHEREADY_SHIM:-}" ] || exit 0

# A parent that cannot be written to, and a disk that is full from the first byte on.
for out in other/out other/x.delta.safetensors; do
  for deed in EROFS ENOSPC; do
    kind=$([[ $out = *.safetensors ]] && echo --delta || true)
    faulty space 1 "$deed" apply "$src" "$WORK/plan.json" -o "$WORK/run/$out" $kind
    [ "$CODE" = 3 ] || fail "$deed: ended with $CODE"
    refused "$WORK/run/other/"
    unharmed "$deed"
  done
done
