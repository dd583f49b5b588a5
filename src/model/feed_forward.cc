// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "model/model.h"

namespace cacheready {

Matrix RunFeedForward(const Arithmetic& arithmetic, Role role, const FeedForward& ffn,
                      const Matrix& x) {
  CR_CHECK(ffn.activation == Activation::kSwiglu, "unknown activation");
  LinearInput input(x);
  Matrix inner = Linear(arithmetic, role, *ffn.gate, input);
  const Matrix up = Linear(arithmetic, role, *ffn.up, input);
  Silu(inner.values());
  Round(arithmetic, RoundingPoint::kSilu, inner.values());
  const std::span<float> products = inner.values();
  const std::span<const float> factors = up.values();
  for (std::size_t n = 0; n < products.size(); ++n) products[n] *= factors[n];
  Round(arithmetic, RoundingPoint::kSiluUp, products);
  return Linear(arithmetic, role, *ffn.down, inner);
}

}  // namespace cacheready
