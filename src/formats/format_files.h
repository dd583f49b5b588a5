// What weight_formats.cc knows of each format's file in this folder: whether the tensors beside a
// module are its own, and how it opens them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "formats/weight_formats.h"
#include "formats/weight_parts.h"

namespace cacheready {

// Rows of slice.index of a fused tensor that has `slices` of `out` rows: slice.rows, or all from
// row_begin on. Fails, naming the tensor, if they are not there.
std::int64_t RowsOfSlice(const TensorView& tensor, std::int64_t slices, std::int64_t out,
                         const PlainSlice& slice);

bool IsBf16(const FormatRequest& request, const WeightParts& parts);
bool IsF16(const FormatRequest& request, const WeightParts& parts);
bool IsF32(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenPlain(const FormatRequest& request, const WeightParts& parts);

bool IsFp8Block(const FormatRequest& request, const WeightParts& parts);
bool IsFp8Channel(const FormatRequest& request, const WeightParts& parts);
bool IsFp8Tensor(const FormatRequest& request, const WeightParts& parts);
bool IsMxfp8(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenFp8(const FormatRequest& request, const WeightParts& parts);

bool IsInt8(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenInt8(const FormatRequest& request, const WeightParts& parts);

bool IsNvfp4(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenNvfp4(const FormatRequest& request, const WeightParts& parts);

bool IsMxfp4(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenMxfp4(const FormatRequest& request, const WeightParts& parts);

bool IsPackedInt(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenPackedInt(const FormatRequest& request, const WeightParts& parts);

bool IsGptq(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenGptq(const FormatRequest& request, const WeightParts& parts);

bool IsAwq(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenAwq(const FormatRequest& request, const WeightParts& parts);

}  // namespace cacheready
