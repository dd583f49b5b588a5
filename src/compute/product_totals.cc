// SPDX-License-Identifier: Apache-2.0
#include "compute/product_totals.h"

#include <atomic>

namespace cacheready {
namespace {

std::atomic<double> operations = 0, thread_seconds = 0;

}  // namespace

ProductTotals AllProducts() { return {operations.load(), thread_seconds.load()}; }

void CountProduct(double more_operations, double more_seconds) {
  operations.fetch_add(more_operations, std::memory_order_relaxed);
  thread_seconds.fetch_add(more_seconds, std::memory_order_relaxed);
}

}  // namespace cacheready
