#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes goldens/formats: quantized weights as they are published, and what they stand for.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install numpy
    /tmp/venv/bin/python tools/make_format_expected.py

Every format is written from its formula, in numpy and plain Python, with nothing of this
repository's C++. weights.safetensors holds, for each case, its tensors under published names,
<case>.expected, the weights in fp32, and <case>.step, the distance of neighbouring grid points at
each weight. cases.json tells, in the same order, the case's name, its format, the
quantization_config that goes with it, its shape, and for fused experts the slice.

Weights are products of an fp32 code and an fp32 scale, rounded once; where a format has two scales,
they are combined first, rounded once more.
"""
import json
import pathlib
import struct

import numpy as np

OUT = pathlib.Path(__file__).resolve().parent.parent / "goldens" / "formats"
F32 = np.float32


class Store:
    """A safetensors file and the list of cases in it."""

    def __init__(self):
        self.tensors = {}
        self.cases = []

    def add(self, name, dtype, array):
        array = np.ascontiguousarray(array)
        self.tensors[name] = (dtype, list(array.shape), array.tobytes())

    def case(self, name, fmt, config, parts, expected, step, **more):
        """parts: suffix -> (dtype, array)."""
        for suffix, (dtype, array) in parts.items():
            self.add(name + suffix, dtype, array)
        self.add(name + ".expected", "F32", expected.astype(F32))
        self.add(name + ".step", "F32", step.astype(F32))
        self.cases.append({"case": name, "format": fmt, "rows": expected.shape[0],
                           "cols": expected.shape[1], "config": config, **more})

    def write(self):
        OUT.mkdir(parents=True, exist_ok=True)
        header, data = {}, b""
        for name, (dtype, shape, raw) in self.tensors.items():
            header[name] = {"dtype": dtype, "shape": shape,
                            "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        (OUT / "weights.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
        lines = ",\n".join(json.dumps(case) for case in self.cases)
        (OUT / "cases.json").write_text("[\n" + lines + "\n]\n")


# ---- number formats, by definition


def e4m3(code):
    sign = -1.0 if code & 128 else 1.0
    exponent, mantissa = code >> 3 & 15, code & 7
    if exponent == 15 and mantissa == 7:
        return float("nan")
    return sign * (mantissa * 2.0**-9 if exponent == 0 else (8 + mantissa) * 2.0**(exponent - 10))


def e4m3_step(code):
    return 2.0**(max(code >> 3 & 15, 1) - 10)


def e2m1(code):
    magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][code & 7]
    return -magnitude if code & 8 else magnitude


def e2m1_step(code):
    return [0.5, 0.5, 0.5, 0.5, 1.0, 1.0, 2.0, 2.0][code & 7]


def table(function, size):
    return np.array([function(code) for code in range(size)], dtype=F32)


E4M3, E4M3_STEP = table(e4m3, 256), table(e4m3_step, 256)
E2M1, E2M1_STEP = table(e2m1, 16), table(e2m1_step, 16)
FINITE = np.array([c for c in range(256) if c & 127 != 127], dtype=np.uint8)


def to_bf16(values):
    """Bits of the nearest bf16, ties to even."""
    bits = values.astype(F32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(F32)


def e8m0(codes):
    return np.exp2(codes.astype(np.float64) - 127).astype(F32)


def stored_scales(values, dtype):
    """(array to store, what it stands for)."""
    if dtype == "F32":
        return values.astype(F32), values.astype(F32)
    if dtype == "BF16":
        bits = to_bf16(values)
        return bits, from_bf16(bits)
    if dtype == "F16":
        half = values.astype(np.float16)
        return half, half.astype(F32)
    codes = np.clip(np.round(np.log2(values)) + 127, 0, 254).astype(np.uint8)  # U8, F8_E8M0
    return codes, e8m0(codes)


def spread(scales, block, shape):
    """Scales of blocks -> one for each weight, ragged at the edges."""
    rows = np.repeat(scales, block[0], axis=0)
    return np.repeat(rows, block[1], axis=1)[:shape[0], :shape[1]]


def ceil_div(a, b):
    return -(-a // b)


def random_scales(rng, shape):
    return np.exp(rng.uniform(-7, -2, shape)).astype(F32)


# ---- FP8 and INT8


def fp8(store, rng, name, fmt, config, shape, block, scale, dtype="F32", view=None, extra=()):
    codes = rng.choice(FINITE, shape)
    grid = [ceil_div(shape[0], block[0]), ceil_div(shape[1], block[1])]
    stored, values = stored_scales(random_scales(rng, grid), dtype)
    factors = spread(values, block, shape)
    parts = {".weight": ("F8_E4M3", codes),
             scale: (dtype, stored if view is None else stored.reshape(view))}
    for suffix in extra:
        parts[suffix] = ("F32", np.array(0.25, dtype=F32))
    store.case(name, fmt, config, parts, E4M3[codes] * factors, E4M3_STEP[codes] * factors)


def fp8_cases(store, rng):
    blocks = {"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
              "weight_block_size": [16, 24]}
    whole = {"quant_method": "fp8", "activation_scheme": "static"}

    def grouped(weights, activations=None):
        return {"quant_method": "compressed-tensors", "format": "float-quantized",
                "config_groups": {"group_0": {
                    "targets": ["Linear"],
                    "weights": {"num_bits": 8, "type": "float", "symmetric": True, **weights},
                    "input_activations": activations}}}

    inverse, scale = ".weight_scale_inv", ".weight_scale"
    for dtype in ("F32", "BF16", "F16", "U8", "F8_E8M0"):
        fp8(store, rng, f"fp8_block_{dtype.lower()}", "fp8-block", blocks, (37, 61), (16, 24),
            inverse, dtype)
    fp8(store, rng, "fp8_block_128", "fp8-block",
        {"quant_method": "fp8", "weight_block_size": [128, 128]}, (130, 20), (128, 128), inverse)
    fp8(store, rng, "fp8_block_one_row", "fp8-block", blocks, (1, 61), (16, 24), inverse, "BF16")
    fp8(store, rng, "fp8_block_grouped", "fp8-block",
        grouped({"strategy": "block", "block_structure": [16, 24]},
                {"num_bits": 8, "type": "float", "strategy": "group", "group_size": 24,
                 "dynamic": True}), (33, 50), (16, 24), scale, "BF16")
    fp8(store, rng, "fp8_block_4d", "fp8-block",
        {"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"}, (130, 131), (128, 128), scale,
        view=(2, 1, 2, 1))
    fp8(store, rng, "fp8_tensor_scalar", "fp8-tensor",
        {"quant_method": "modelopt", "quant_algo": "FP8"}, (5, 9), (5, 9), scale, view=(),
        extra=(".input_scale",))
    fp8(store, rng, "fp8_tensor_one", "fp8-tensor", whole, (4, 7), (4, 7), scale, "BF16",
        view=(1,), extra=(".input_scale",))
    fp8(store, rng, "fp8_tensor_inverse", "fp8-tensor", whole, (6, 5), (6, 5), inverse, view=(),
        extra=(".activation_scale",))
    token = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}
    fp8(store, rng, "fp8_channel_bf16", "fp8-channel", grouped({"strategy": "channel"}, token),
        (9, 33), (1, 33), scale, "BF16")
    fp8(store, rng, "fp8_channel_f32", "fp8-channel", grouped({"strategy": "channel"}, token),
        (3, 5), (1, 5), scale)
    fp8(store, rng, "fp8_channel_flat", "fp8-channel",
        {"quant_method": "modelopt", "quant_algo": "FP8_PER_CHANNEL_PER_TOKEN"}, (7, 11), (1, 11),
        scale, view=(7,))
    fp8(store, rng, "fp8_channel_one_row", "fp8-channel", grouped({"strategy": "channel"}, token),
        (1, 21), (1, 21), scale, "BF16")
    fp8(store, rng, "mxfp8", "mxfp8", {"quant_method": "modelopt", "quant_algo": "MXFP8"}, (6, 70),
        (1, 32), scale, "U8")
    # Every code under one scale, and every power of two over the code of 1.
    codes = np.arange(256, dtype=np.uint8).reshape(4, 64)
    scale_value = F32(0.3)
    store.case("fp8_all_codes", "fp8-tensor", whole,
               {".weight": ("F8_E4M3", codes), scale: ("F32", np.array(scale_value))},
               E4M3[codes] * scale_value, E4M3_STEP[codes] * scale_value)
    powers = np.arange(255, dtype=np.uint8).reshape(1, 255)
    ones = np.full((1, 255), 0x38, dtype=np.uint8)
    store.case("e8m0_all_codes", "fp8-block",
               {"quant_method": "fp8", "weight_block_size": [1, 1]},
               {".weight": ("F8_E4M3", ones), inverse: ("F8_E8M0", powers)}, e8m0(powers),
               e8m0(powers) * F32(2.0**-3))


def int8_cases(store, rng):
    config = {"quant_method": "compressed-tensors", "format": "int-quantized",
              "config_groups": {"g": {"targets": ["Linear"], "weights": {
                  "num_bits": 8, "type": "int", "strategy": "channel"}, "input_activations": {
                      "num_bits": 8, "type": "int", "strategy": "token", "dynamic": True}}}}
    codes = rng.integers(-128, 128, (7, 37)).astype(np.int8)
    stored, values = stored_scales(random_scales(rng, (7, 1)), "BF16")
    factors = spread(values, (1, 37), (7, 37))
    store.case("int8_channel", "int8", config,
               {".weight": ("I8", codes), ".weight_scale": ("BF16", stored)},
               codes.astype(F32) * factors, factors)
    scale = F32(0.0173)
    store.case("int8_tensor", "int8", config,
               {".weight": ("I8", codes), ".weight_scale": ("F32", np.array([scale]))},
               codes.astype(F32) * scale, np.full(codes.shape, scale))


# ---- FP4


def pack_pairs(codes):
    """Even columns in the low four bits."""
    return (codes[..., 0::2] | codes[..., 1::2] << 4).astype(np.uint8)


def nvfp4(store, rng, name, config, shape, modelopt, codes=None):
    codes = rng.integers(0, 16, shape).astype(np.uint8) if codes is None else codes
    scale_codes = rng.integers(1, 127, (shape[0], ceil_div(shape[1], 16))).astype(np.uint8)
    if modelopt:
        names, top = (".weight", ".weight_scale_2"), np.array(F32(0.00013))
        scales = E4M3[scale_codes] * F32(top)
    else:
        names, top = (".weight_packed", ".weight_global_scale"), np.array([F32(7900.3)])
        scales = E4M3[scale_codes] / F32(top[0])
    factors = spread(scales, (1, 16), shape)
    store.case(name, "nvfp4", config,
               {names[0]: ("U8", pack_pairs(codes)), ".weight_scale": ("F8_E4M3", scale_codes),
                names[1]: ("F32", top),
                ".input_scale" if modelopt else ".input_global_scale": ("F32", top)},
               E2M1[codes] * factors, E2M1_STEP[codes] * factors)


def nvfp4_cases(store, rng):
    modelopt = {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16,
                "kv_cache_scheme": {"num_bits": 8, "type": "float", "dynamic": False}}
    numbers = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}
    grouped = {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized",
               "config_groups": {"g": {"targets": ["Linear"], "weights": numbers,
                                       "input_activations": {**numbers, "dynamic": "local"}}}}
    nvfp4(store, rng, "nvfp4_modelopt", modelopt, (9, 64), True)
    nvfp4(store, rng, "nvfp4_modelopt_ragged", modelopt, (5, 24), True)
    nvfp4(store, rng, "nvfp4_grouped", grouped, (8, 48), False)
    nvfp4(store, rng, "nvfp4_grouped_ragged", grouped, (3, 34), False)
    nvfp4(store, rng, "nvfp4_all_codes", modelopt, (1, 16), True,
          np.arange(16, dtype=np.uint8).reshape(1, 16))


def mxfp4_weights(codes, scale_codes):
    factors = np.repeat(e8m0(scale_codes), 32, axis=-1)[..., :codes.shape[-1]]
    return E2M1[codes] * factors, E2M1_STEP[codes] * factors


def mxfp4_cases(store, rng):
    grouped = {"quant_method": "compressed-tensors", "format": "mxfp4-pack-quantized",
               "config_groups": {"g": {"targets": ["Linear"], "weights": {
                   "num_bits": 4, "type": "float", "strategy": "group", "group_size": 32}}}}
    for name, codes_name, dtype, shape in (("mxfp4_grouped", ".weight_packed", "U8", (6, 64)),
                                           ("mxfp4_ragged", ".weight_packed", "U8", (5, 42)),
                                           ("mxfp4_e8m0", ".weight", "F8_E8M0", (3, 32))):
        codes = rng.integers(0, 16, shape).astype(np.uint8)
        scale_codes = rng.integers(110, 132, (shape[0], ceil_div(shape[1], 32))).astype(np.uint8)
        store.case(name, "mxfp4", grouped,
                   {codes_name: ("U8", pack_pairs(codes)), ".weight_scale": (dtype, scale_codes)},
                   *mxfp4_weights(codes, scale_codes))
    # gpt-oss: row 2 j of the gate, row 2 j + 1 of the up projection.
    experts, out, groups = 3, 10, 2
    codes = rng.integers(0, 16, (experts, out, groups * 32)).astype(np.uint8)
    scale_codes = rng.integers(110, 132, (experts, out, groups)).astype(np.uint8)
    expected, step = mxfp4_weights(codes, scale_codes)
    blocks = pack_pairs(codes).reshape(experts, out, groups, 16)
    config = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}
    for name, index, begin, stride, rows in (("fused_mxfp4_all", 0, 0, 1, 10),
                                             ("fused_mxfp4_gate", 2, 0, 2, 5),
                                             ("fused_mxfp4_up", 1, 1, 2, 5)):
        picked = slice(begin, begin + stride * rows, stride)
        store.case(name, "mxfp4", config,
                   {"_blocks": ("U8", blocks), "_scales": ("U8", scale_codes)},
                   expected[index, picked], step[index, picked],
                   slice={"index": index, "row_begin": begin, "row_stride": stride, "rows": rows})


# ---- packed integers


def pack_words(values, bits, axis):
    """Non-negative integers -> int32 words, lowest bits first, zero padded."""
    values = np.moveaxis(values.astype(np.uint32), axis, -1)
    per = 32 // bits
    pad = -values.shape[-1] % per
    values = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, pad)])
    values = values.reshape(values.shape[:-1] + (-1, per))
    words = np.zeros(values.shape[:-1], dtype=np.uint32)
    for place in range(per):
        words |= values[..., place] << np.uint32(bits * place)
    return np.moveaxis(words, -1, axis).view(np.int32)


def grouped_integers(codes, zeros, scales, group_of):
    """codes [out, in], zeros and scales [out, groups], group_of [in]."""
    factors = scales[:, group_of]
    return (codes - zeros[:, group_of]).astype(F32) * factors, factors


def packed_case(store, rng, name, shape, bits, group, symmetric=True, dtype="BF16", order=None):
    rows, cols = shape
    width = group or cols
    groups = ceil_div(cols, width)
    codes = rng.integers(0, 1 << bits, shape)
    zeros = np.full((rows, groups), 1 << bits - 1)
    if not symmetric:
        zeros = rng.integers(0, 1 << bits, (rows, groups))
    stored, scales = stored_scales(random_scales(rng, (rows, groups)), dtype)
    group_of = np.arange(cols) // width
    parts = {".weight_packed": ("I32", pack_words(codes, bits, 1)),
             ".weight_scale": (dtype, stored),
             ".weight_shape": ("I64", np.array(shape, dtype=np.int64))}
    if not symmetric:
        parts[".weight_zero_point"] = ("I32", pack_words(zeros, bits, 0))
    if order == "permuted":
        group_of = rng.permutation(group_of)
        parts[".weight_g_idx"] = ("I32", group_of.astype(np.int32))
    if order == "unset":
        parts[".weight_g_idx"] = ("I32", np.full(cols, -1, dtype=np.int32))
    weights = {"num_bits": bits, "type": "int", "symmetric": symmetric,
               "strategy": "group" if group else "channel", "group_size": group}
    config = {"quant_method": "compressed-tensors", "format": "pack-quantized",
              "config_groups": {"g": {"targets": ["Linear"], "weights": weights}}}
    store.case(name, "int-packed", config, parts,
               *grouped_integers(codes, zeros, scales, group_of))


def packed_cases(store, rng):
    packed_case(store, rng, "packed4_group32", (6, 96), 4, 32)
    packed_case(store, rng, "packed4_ragged_row", (5, 37), 4, None, dtype="F16")
    packed_case(store, rng, "packed4_ragged_group", (5, 44), 4, 16, dtype="F32")
    packed_case(store, rng, "packed4_zeros", (13, 48), 4, 16, symmetric=False)
    packed_case(store, rng, "packed4_permuted", (4, 64), 4, 16, order="permuted")
    packed_case(store, rng, "packed4_permuted_zeros", (11, 64), 4, 16, symmetric=False,
                order="permuted")
    packed_case(store, rng, "packed4_unset_order", (4, 32), 4, 16, order="unset")
    packed_case(store, rng, "packed8_group32", (5, 64), 8, 32)
    packed_case(store, rng, "packed8_ragged_zeros", (7, 39), 8, None, symmetric=False)


def gptq_case(store, rng, name, shape, bits, group, layout="gptq", symmetric=True, order=None,
              dtype="F16", config=None):
    rows, cols = shape
    width = group or cols
    groups = ceil_div(cols, width)
    codes = rng.integers(0, 1 << bits, shape)
    zeros = np.full((rows, groups), 1 << bits - 1)
    if not symmetric:
        # Not 0 in the first layout: less 1 it is not kept by what packs one by one.
        zeros = rng.integers(1 if layout == "gptq" else 0, 1 << bits, (rows, groups))
    if symmetric == "with zeros":
        zeros[1::3, :] = 0
    stored, scales = stored_scales(random_scales(rng, (groups, rows)), dtype)
    words = pack_words(zeros.T, bits, 1)
    if layout == "gptq":  # subtracted from words, as GPTQModel does
        each = 0x11111111 if bits == 4 else 0x01010101
        words = (words.view(np.uint32) - np.uint32(each)).view(np.int32)
    group_of = np.arange(cols) // width
    if order == "permuted":
        group_of = rng.permutation(group_of)
    parts = {".qweight": ("I32", pack_words(codes.T, bits, 0)), ".qzeros": ("I32", words),
             ".scales": (dtype, stored)}
    if order != "none":
        parts[".g_idx"] = ("I32", group_of.astype(np.int32))
    if config is None:
        config = {"quant_method": "gptq", "bits": bits, "group_size": group or -1,
                  "desc_act": order == "permuted", "sym": symmetric is True,
                  "checkpoint_format": layout}
    store.case(name, "gptq", config, parts, *grouped_integers(codes, zeros, scales.T, group_of))


def gptq_cases(store, rng):
    gptq_case(store, rng, "gptq4_v1", (16, 64), 4, 16)
    gptq_case(store, rng, "gptq4_v1_zeros", (24, 48), 4, 16, symmetric=False)
    gptq_case(store, rng, "gptq4_v1_zero_borrows", (16, 32), 4, 16, symmetric="with zeros")
    gptq_case(store, rng, "gptq4_v2", (16, 64), 4, 32, layout="gptq_v2")
    gptq_case(store, rng, "gptq4_v2_zeros", (16, 64), 4, 32, layout="gptq_v2", symmetric=False,
              dtype="BF16")
    gptq_case(store, rng, "gptq4_permuted", (8, 64), 4, 16, order="permuted")
    gptq_case(store, rng, "gptq4_permuted_zeros", (8, 64), 4, 16, layout="gptq_v2",
              symmetric=False, order="permuted")
    gptq_case(store, rng, "gptq4_whole_rows", (8, 40), 4, None, order="none")
    gptq_case(store, rng, "gptq8_v1", (12, 32), 8, 16)
    gptq_case(store, rng, "gptq8_v2_zeros", (12, 40), 8, 8, layout="gptq_v2", symmetric=False)
    gptq_case(store, rng, "gptq8_permuted", (8, 32), 8, 8, symmetric=False, order="permuted")
    gptq_case(store, rng, "auto_round", (8, 32), 4, 16, order="none", config={
        "quant_method": "auto-round", "bits": 4, "group_size": 16, "sym": True,
        "packing_format": "auto_round:auto_gptq", "data_type": "int"})


def awq_case(store, rng, name, shape, group, config=None):
    rows, cols = shape
    codes = rng.integers(0, 16, shape)
    groups = cols // group
    zeros = rng.integers(0, 16, (rows, groups))
    stored, scales = stored_scales(random_scales(rng, (groups, rows)), "F16")

    def pack(values):  # [n, out]: nibble i of a word holds the output order[i] of its eight
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        eights = values.reshape(values.shape[0], -1, 8)[:, :, order]
        return pack_words(eights.reshape(values.shape), 4, 1)

    store.case(name, "awq", config or {"quant_method": "awq", "bits": 4, "group_size": group,
                                       "zero_point": True, "version": "gemm"},
               {".qweight": ("I32", pack(codes.T)), ".qzeros": ("I32", pack(zeros.T)),
                ".scales": ("F16", stored)},
               *grouped_integers(codes, zeros, scales.T, np.arange(cols) // group))


def awq_cases(store, rng):
    awq_case(store, rng, "awq", (16, 64), 32)
    awq_case(store, rng, "awq_odd_groups", (24, 33), 11)
    awq_case(store, rng, "awq_old_config", (8, 48), 48,
             {"zero_point": True, "q_group_size": 48, "w_bit": 4, "version": "GEMM",
              "quant_method": "awq"})


def main():
    store = Store()
    rng = np.random.default_rng(20240607)
    fp8_cases(store, rng)
    int8_cases(store, rng)
    nvfp4_cases(store, rng)
    mxfp4_cases(store, rng)
    packed_cases(store, rng)
    gptq_cases(store, rng)
    awq_cases(store, rng)
    store.write()


if __name__ == "__main__":
    main()
