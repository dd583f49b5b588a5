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
EncodedMatrixPtr OpenFp8Block(const FormatRequest& request, const WeightParts& parts);

bool IsMxfp4(const FormatRequest& request, const WeightParts& parts);
EncodedMatrixPtr OpenMxfp4(const FormatRequest& request, const WeightParts& parts);

}  // namespace cacheready
