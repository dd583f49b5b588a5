#!/usr/bin/env python3
"""What one would write in Python instead of `cacheready scan`: the model in transformers, its experts' distances
in PyTorch.

Usage: expert_distances.py CHECKPOINT TEXT SCAN OUT [--dtype fp32|bf16] [--threads N] ...

CHECKPOINT is a qwen3_5_moe folder with FP8 weights; transformers multiplies those on GPUs only, so they are
dequantized here. TEXT (scan_text.py) holds the token ids. From the records of SCAN come the choices, not the
measurements: which tokens speak for an expert, which pairs are measured. Writes the distances into OUT, in the
records' words, and prints one JSON object: seconds, CPU seconds and peak memory of each step, and on how many
tokens experts were run. Run by bench/transformers.
"""
# SPDX-License-Identifier: Apache-2.0
import resource
import time


def mark():
    """Wall and CPU seconds so far, and the most memory."""
    return (time.perf_counter(), time.process_time(),
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


BEGIN = mark()

import argparse  # noqa: E402
import json  # noqa: E402
import pathlib  # noqa: E402
import re  # noqa: E402

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
import transformers  # noqa: E402
from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import AutoConfig, AutoModel  # noqa: E402

PREFIX = "model.language_model."
EXPERT = re.compile(r"(layers\.\d+\.mlp\.experts\.)(\d+)\.(gate|up|down)_proj\.weight")
BLOCK = 128  # FP8 weights have one scale for 128 x 128 of them


def dequantize(codes, scales, out):
    """Writes codes x scales to `out`, block by block; shapes are multiples of a block here."""
    blocks = (codes.shape[0] // BLOCK, BLOCK, codes.shape[1] // BLOCK, BLOCK)
    torch.mul(codes.float().view(blocks), scales.float()[:, None, :, None], out=out.view(blocks))


def language_weights(folder, config, dtype):
    """The language model's tensors by their names in transformers, which keeps the experts of a layer in two
    stacks; FP8 is dequantized into its place."""
    index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))["weight_map"]
    shards = {shard: safe_open(folder / shard, "pt") for shard in sorted(set(index.values()))}
    experts, width, hidden = config.num_experts, config.moe_intermediate_size, config.hidden_size
    weights = {}
    for layer in range(config.num_hidden_layers):
        block = f"layers.{layer}.mlp.experts."
        weights[block + "gate_up_proj"] = torch.empty(experts, 2 * width, hidden, dtype=dtype)
        weights[block + "down_proj"] = torch.empty(experts, hidden, width, dtype=dtype)

    def place(name, shape):
        expert = EXPERT.fullmatch(name)
        if not expert:
            return weights.setdefault(name, torch.empty(shape, dtype=dtype))
        block, e, kind = expert.groups()
        if kind == "down":
            return weights[block + "down_proj"][int(e)]
        return weights[block + "gate_up_proj"][int(e)].view(2, width, hidden)[("gate", "up").index(kind)]
    for name, shard in index.items():
        if not name.startswith(PREFIX) or name.endswith("_scale_inv"):
            continue
        tensor, scale = shards[shard].get_tensor(name), name + "_scale_inv"
        out = place(name.removeprefix(PREFIX), tensor.shape)
        if scale in index:
            dequantize(tensor, shards[index[scale]].get_tensor(scale), out)
        else:
            out.copy_(tensor)
    return weights


def load_model(folder, dtype, experts_implementation):
    config = AutoConfig.from_pretrained(folder).get_text_config()
    weights = language_weights(folder, config, dtype)
    with torch.device("meta"):
        model = AutoModel.from_config(config, dtype=dtype, attn_implementation="sdpa",
                                      experts_implementation=experts_implementation)
    model.load_state_dict(weights, assign=True)
    # Not in the checkpoint: made anew outside of the meta device.
    model.rotary_emb = type(model.rotary_emb)(config)
    return model.eval()


def block_inputs(model, ids, bounds, batch):
    """Input of each layer's MoE block, [tokens, hidden], in the order of `ids`: documents of like length go through
    together, filled up behind their ends, where nothing that is causal can see it."""
    inputs = [torch.empty(len(ids), model.config.hidden_size, dtype=model.dtype) for _ in model.layers]
    captured = {}

    def capture(layer):
        return lambda module, arguments, output: captured.__setitem__(layer, arguments[0])
    handles = [layer.mlp.register_forward_hook(capture(n)) for n, layer in enumerate(model.layers)]
    documents = sorted(zip(bounds[:-1], bounds[1:]), key=lambda d: d[1] - d[0])
    for first in range(0, len(documents), batch):
        some = documents[first:first + batch]
        padded = torch.zeros(len(some), max(end - begin for begin, end in some), dtype=torch.long)
        for row, (begin, end) in enumerate(some):
            padded[row, :end - begin] = ids[begin:end]
        model(input_ids=padded, use_cache=False)
        for layer, x in captured.items():
            for row, (begin, end) in enumerate(some):
                inputs[layer][begin:end] = x[row, :end - begin]
    for handle in handles:
        handle.remove()
    return inputs


def probe_distances(experts, x):
    """Of all pairs, [experts, experts]: all experts on all of x in two batched products, then for each token the
    Gram matrix of their outputs. sqrt(sum |f_i - f_j|^2 / sum max(|f_i|^2, |f_j|^2))."""
    gate, up = torch.matmul(x, experts.gate_up_proj.transpose(1, 2)).chunk(2, dim=-1)
    outputs = torch.bmm(F.silu(gate) * up, experts.down_proj.transpose(1, 2))
    outputs = outputs.transpose(0, 1).float()  # [tokens, experts, hidden]
    gram = torch.bmm(outputs, outputs.transpose(1, 2))
    norms = gram.diagonal(dim1=1, dim2=2)
    difference = (norms[:, :, None] + norms[:, None, :] - 2 * gram).clamp_(min=0)
    larger = torch.maximum(norms[:, :, None], norms[:, None, :])
    return (difference.sum(0, dtype=torch.float64) / larger.sum(0, dtype=torch.float64)).sqrt()


def run_expert(experts, e, x):
    gate, up = F.linear(x, experts.gate_up_proj[e]).chunk(2, dim=-1)
    return F.linear(F.silu(gate) * up, experts.down_proj[e]).float()


def pair_distances(experts, x, pairs, samples, probe_rows, counts):
    """|f_i - f_j| and max(|f_i|, |f_j|) of each pair (i, j) on the first tokens of either's sample, then on the
    probe: a list of pairs of vectors. Each expert runs once, on all the tokens on which it is needed; beside the
    list, how many these are."""
    tokens = [torch.cat([samples[i][:on_i], samples[j][:on_j], probe_rows])
              for (i, j), (on_i, on_j) in zip(pairs, counts)]
    needed = {}
    for (i, j), rows in zip(pairs, tokens):
        needed.setdefault(i, []).append(rows)
        needed.setdefault(j, []).append(rows)
    rows = {e: torch.cat(lists).unique() for e, lists in needed.items()}
    outputs = {e: run_expert(experts, e, x[rows[e]]) for e in rows}
    norms = {e: output.norm(dim=1) for e, output in outputs.items()}
    result = []
    for (i, j), wanted in zip(pairs, tokens):
        at_i, at_j = torch.searchsorted(rows[i], wanted), torch.searchsorted(rows[j], wanted)
        result.append(((outputs[i][at_i] - outputs[j][at_j]).norm(dim=1),
                       torch.maximum(norms[i][at_i], norms[j][at_j])))
    return result, sum(len(r) for r in rows.values())


def split(flat, offsets):
    return list(flat.split((offsets[1:] - offsets[:-1]).tolist()))


def measure_layer(experts, x, record, probe_rows):
    """The measurements of one layer, named as in its record, and how often an expert was run on a token."""
    samples = split(record.get_tensor("samples.tokens").long(), record.get_tensor("samples.tokens.offsets"))
    pairs = record.get_tensor("pairs.experts").tolist()
    counts = torch.stack([record.get_tensor(f"pairs.difference_on_{side}.offsets").diff() for side in "ij"], 1).tolist()
    all_pairs = probe_distances(experts, x[probe_rows])
    nearest = all_pairs.clone().fill_diagonal_(float("inf")).min(dim=1)
    compared, runs = pair_distances(experts, x, pairs, samples, probe_rows, counts)
    parts = [[kind.split([on_i, on_j, len(probe_rows)]) for kind in found]
             for found, (on_i, on_j) in zip(compared, counts)]
    found = {
        "all_pairs": all_pairs, "nearest": nearest.indices, "nearest_distance": nearest.values,
        "pairs.difference_on_i": torch.cat([d[0] for d, _ in parts]),
        "pairs.larger_norm_on_i": torch.cat([n[0] for _, n in parts]),
        "pairs.difference_on_j": torch.cat([d[1] for d, _ in parts]),
        "pairs.larger_norm_on_j": torch.cat([n[1] for _, n in parts]),
        "pairs.probe_distance": torch.stack([d[2] / n[2] for d, n in parts]),
    }
    return found, runs + len(all_pairs) * len(probe_rows)


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("scan", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8, help="documents a forward pass")
    parser.add_argument("--experts", default="grouped_mm", help="experts_implementation of transformers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    marks = {"import": mark()}

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[options.dtype]
    model = load_model(options.checkpoint, dtype, options.experts)
    text = load_file(options.text)
    probe_rows = text["probe_rows"].long()
    marks["load"] = mark()

    inputs = block_inputs(model, text["ids"].long(), text["bounds"].tolist(), options.batch)
    marks["forward"] = mark()

    results, runs = {}, len(text["ids"]) * model.config.num_experts_per_tok * len(inputs)
    for layer, x in enumerate(inputs):
        with safe_open(options.scan / f"layer-{layer:04d}.safetensors", "pt") as record:
            found, more = measure_layer(model.layers[layer].mlp.experts, x, record, probe_rows)
        runs += more
        results |= {f"{layer}.{name}": tensor.contiguous() for name, tensor in found.items()}
    save_file(results, options.out)
    marks["distances"] = mark()

    steps, before = {}, BEGIN
    for step, at in marks.items():
        steps[step] = {"seconds": at[0] - before[0], "cpu_seconds": at[1] - before[1], "peak_bytes": at[2]}
        before = at
    print(json.dumps({"steps": steps, "expert_runs": runs, "threads": torch.get_num_threads(),
                      "versions": {"torch": torch.__version__, "transformers": transformers.__version__}}))


if __name__ == "__main__":
    main()
