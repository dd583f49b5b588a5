#!/usr/bin/env python3
"""Whether the distances of expert_distances.py are those in the records of a scan.

Usage: agreement.py SCAN FOUND TENSOR_LIMIT VALUE_LIMIT: prints one JSON object with the largest deviations; exit 1
if a tensor's relative L2 distance, or the deviation of a single value over the value, exceeds its limit (VALUE_LIMIT
"none": single values may deviate). Run by bench/transformers.
"""
# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import sys

import numpy
from safetensors import safe_open
from safetensors.numpy import load_file

COMPARED = ("nearest_distance", "pairs.probe_distance", "pairs.difference_on_i", "pairs.larger_norm_on_i",
            "pairs.difference_on_j", "pairs.larger_norm_on_j")


def deviation(found, expected):
    """(relative L2, largest of single values); infinite where shapes differ or something is no number."""
    found, expected = found.astype(numpy.float64), expected.astype(numpy.float64)
    if found.shape != expected.shape or not numpy.isfinite(found).all():
        return float("inf"), float("inf")
    off = numpy.abs(found - expected)
    if not off.any():
        return 0.0, 0.0
    single = numpy.divide(off, numpy.abs(expected), out=numpy.where(off > 0, numpy.inf, 0.0), where=expected != 0)
    return float(numpy.linalg.norm(off) / numpy.linalg.norm(expected)), float(single.max())


def other_neighbours(all_pairs, nearest, distance, limit):
    """Experts whose recorded nearest neighbour is found farther than the one found nearest by more than the limit."""
    recorded = all_pairs[numpy.arange(len(nearest)), nearest]
    return int((recorded - distance > limit * distance).sum())


def main():
    scan, found_file = map(pathlib.Path, sys.argv[1:3])
    tensor_limit = float(sys.argv[3])
    value_limit = float("inf") if sys.argv[4] == "none" else float(sys.argv[4])
    found = load_file(found_file)
    layers = json.loads((scan / "scan.json").read_text(encoding="utf-8"))["moe_layers"]
    tensors, singles, others, counts = {}, {}, 0, {"pairs": 0, "candidate_pairs": 0, "values": 0, "samples": 0}
    for layer in layers:
        with safe_open(scan / f"layer-{layer:04d}.safetensors", "np") as record:
            for name in COMPARED:
                expected = record.get_tensor(name)
                tensor, single = deviation(found[f"{layer}.{name}"], expected)
                tensors[name] = max(tensors.get(name, 0), tensor)
                singles[name] = max(singles.get(name, 0), single)
                counts["values"] += expected.size
            counts["pairs"] += len(record.get_tensor("pairs.experts"))
            counts["candidate_pairs"] += int(record.get_tensor("pairs.candidate").sum())
            counts["samples"] += record.get_tensor("samples.noise").size
            others += other_neighbours(found[f"{layer}.all_pairs"], record.get_tensor("nearest"),
                                       found[f"{layer}.nearest_distance"], tensor_limit)
    agree = max(tensors.values()) <= tensor_limit and max(singles.values()) <= value_limit and others == 0
    print(json.dumps({"agree": agree, "layers": len(layers), **counts, "relative_l2": tensors,
                      "largest_of_single_values": singles, "other_neighbours": others}))
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
