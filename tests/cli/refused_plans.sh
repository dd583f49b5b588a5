#!/usr/bin/env bash
# A plan or a delta that does not belong to the source, or is broken: exit 3, one line that names
# what is wrong, and nothing is made, not even OUT.partial.
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/src"
make_text "$WORK/text.jsonl"
make_plan "$WORK/src" "$WORK/text.jsonl" "$WORK/good.json" "$WORK/scan"
mkdir "$WORK/run"
plan=$WORK/plan.json
gate=model.layers.0.mlp.gate.weight

refuse() {
  run 3 apply "${SRC:-$WORK/src}" "$plan" -o "$WORK/run/out"
  refused "$@"
  run 3 apply "${SRC:-$WORK/src}" "$plan" -o "$WORK/run/x.delta.safetensors" --delta
  refused "$@"
  [ -z "$(ls -A "$WORK/run")" ] || fail "left behind: $(ls -A "$WORK/run")"
}
change() { python3 -c "import json, sys
plan = json.load(open('$WORK/good.json')); group = plan['groups'][0]; tensor = group['tensors'][0]
$1
json.dump(plan, open('$plan', 'w'))"; }

rm -f "$plan"; refuse "$plan"
head -c 1000 "$WORK/good.json" >"$plan"; refuse "$plan" "line"
echo '{}' >"$plan"; refuse "$plan" "schema"
change 'plan["schema"] = "cacheready.plan/9"'; refuse "$plan" "cacheready.plan/9"
change 'tensor["replaced_sha256"][0] = "0" * 64'; refuse "$gate" "SHA-256" "row"
change 'tensor["tensor"] = "no.such.tensor"'; refuse "no.such.tensor"
change 'tensor["row"] = tensor["row"][:-8]'; refuse "$gate"
change 'tensor["row"] = "?"'; refuse "$plan" "$gate"
change 'group["members"][-1] = 999'; refuse "$gate" "999"
change 'group["members"][0] = -1'; refuse "$plan" "members"
change 'tensor["dtype"] = "F32"'; refuse "$gate" "F32"
change 'group["tensors"].append(tensor)'; refuse "$gate" "twice"
cp "$WORK/good.json" "$plan"; SRC=$CACHEREADY_SOURCE/models/reference-fp8 refuse "tensor '$gate'"
run 0 apply "$WORK/src" "$plan" -o "$WORK/tied"
SRC=$WORK/tied refuse "applied before"

run 0 apply "$WORK/src" "$WORK/good.json" -o "$WORK/good.delta.safetensors" --delta
plan=$WORK/bad.delta.safetensors
head -c -1 "$WORK/good.delta.safetensors" >"$plan"; refuse "$plan"
sed 's/cacheready.delta.1/cacheready.delta_9/' "$WORK/good.delta.safetensors" >"$plan"
refuse "$plan" "cacheready.delta_9"
python3 -c "d = bytearray(open('$WORK/good.delta.safetensors', 'rb').read()); d[-1] ^= 1
open('$plan', 'wb').write(d)"; refuse "$plan" "damaged"
run 3 apply "$WORK/src" "$WORK/good.delta.safetensors" --revert -o "$WORK/run/out"
refused "made for other weights"
run 3 apply "$WORK/src" "$WORK/good.json" --revert -o "$WORK/run/out"
refused "--revert needs a delta"
