// A fixed pool of worker threads behind one function.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>

namespace cacheready {

// Number of threads that ParallelFor uses (default: the CPUs this process may run on). Set before
// the first use.
int NumThreads();
void SetNumThreads(int threads);
// Threads that a ParallelFor called here runs on: 1 inside a body.
int ParallelWidth();

// Calls body(i) once for every i in [0, count), in any order, on any thread; returns when all are
// done. The first error thrown by a body is rethrown here (the others are dropped). A call made
// from inside a body runs serially. Results must not depend on the order: bodies write to places of
// their own, sums are made by the caller in index order.
void ParallelFor(std::int64_t count, const std::function<void(std::int64_t)>& body);

}  // namespace cacheready
