#!/usr/bin/env bash
# A source that is not what it should be: exit 3 and one line that names the file (and the tensor).
# SPDX-License-Identifier: Apache-2.0
source "$(dirname "$0")/fixture.sh"
make_source "$WORK/good"
make_text "$WORK/text.jsonl"
shard=model.safetensors-00002-of-00003.safetensors
index=model.safetensors.index.json

# refuse WORD...: $WORK/src, which the caller has spoilt, is refused by inspect and by scan.
refuse() {
  run 3 inspect "$WORK/src"
  refused "$@"
  run 3 scan "$WORK/src" -c "$WORK/text.jsonl" -o "$WORK/scan"
  refused "$@"
  [ ! -e "$WORK/scan" ] || fail "scan left $(ls "$WORK/scan")"
}
spoil() { rm -rf "$WORK/src"; cp -r "$WORK/good" "$WORK/src"; }

rm -rf "$WORK/src"; refuse "$WORK/src"
mkdir "$WORK/src"; refuse "$WORK/src"
spoil; rm "$WORK/src/config.json"; refuse "config.json"
spoil; echo '{"model_type": "qwen3' >"$WORK/src/config.json"; refuse "config.json" "line 2"
spoil; sed -i 's/qwen3_5_moe_text/no_such_moe/' "$WORK/src/config.json"; refuse "no_such_moe"
spoil; sed -i 's/"silu"/"tanh"/' "$WORK/src/config.json"; refuse "hidden_act" "tanh"
spoil; printf 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n' >"$WORK/src/$shard"
refuse "$shard" "git lfs pull"
spoil; truncate -s -1 "$WORK/src/$shard"; refuse "$shard" "tensor '"
spoil; truncate -s 100 "$WORK/src/$shard"; refuse "$shard"
spoil; truncate -s 0 "$WORK/src/$shard"; refuse "$shard"
spoil; printf x >>"$WORK/src/$shard"; refuse "$shard"
spoil; rm "$WORK/src/$shard"; refuse "$shard"
spoil; rm "$WORK/src/$shard"; ln -s nowhere "$WORK/src/$shard"; refuse "$shard" "link"
spoil; rm "$WORK/src/$shard"; mkfifo "$WORK/src/$shard"; refuse "$shard"
spoil; sed -i "s/$shard/no-such.safetensors/" "$WORK/src/$index"; refuse "no-such.safetensors"
spoil; sed -i "0,/$shard/s//..\/$shard/" "$WORK/src/$index"; refuse "$index" "../$shard" "tensor '"
spoil; echo '{"weight_map": ' >"$WORK/src/$index"; refuse "$index"
spoil; sed -i 's/layers.2.mlp.gate.weight/layers.2.mlp.gate.wEight/' "$WORK/src/"model*
refuse "model.layers.2.mlp.gate.weight"
