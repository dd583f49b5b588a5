// What matrix products have cost so far: a run cannot be faster than they are.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace cacheready {

struct ProductTotals {
  double operations = 0;      // floating-point, two a multiply-add
  double thread_seconds = 0;  // summed over threads; decoding of weights included
};
ProductTotals AllProducts();                                  // of the whole process
void CountProduct(double operations, double thread_seconds);  // from any thread

}  // namespace cacheready
