// The part of a decoder layer that mixes tokens of a document: attention, Gated DeltaNet.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "arithmetic/profile.h"
#include "compute/sequence_ops.h"
#include "tensor/matrix.h"

namespace cacheready {

// Immutable and thread-safe. Valid while the Checkpoint lives.
class Mixer {
 public:
  virtual ~Mixer() = default;
  // [tokens, hidden] -> [tokens, hidden]; x is already normed.
  virtual Matrix Run(const Arithmetic& arithmetic, const Matrix& x,
                     DocumentBounds documents) const = 0;
};

}  // namespace cacheready
