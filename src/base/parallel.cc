// SPDX-License-Identifier: Apache-2.0
#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"

namespace cacheready {
namespace {

thread_local bool inside_body = false;

// One call of ParallelFor. Chunks are claimed in increasing order and a claimed chunk runs until
// its own error, so the error of the smallest failing index is always among those seen, and is
// kept.
struct Job {
  const std::function<void(std::int64_t)>* body = nullptr;
  std::int64_t count = 0;
  std::int64_t chunk = 1;
  std::atomic<std::int64_t> next = 0;
  std::atomic<bool> failed = false;
  std::mutex error_mutex;
  std::int64_t error_index = 0;
  std::exception_ptr error;

  void Run() {
    inside_body = true;
    while (!failed.load(std::memory_order_relaxed)) {
      const std::int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= count) break;
      RunChunk(begin, std::min(count, begin + chunk));
    }
    inside_body = false;
  }

  void RunChunk(std::int64_t begin, std::int64_t end) {
    std::int64_t i = begin;
    try {
      for (; i < end; ++i) (*body)(i);
    } catch (...) {
      const std::lock_guard lock(error_mutex);
      if (!error || i < error_index) {
        error = std::current_exception();
        error_index = i;
      }
      failed.store(true, std::memory_order_relaxed);
    }
  }
};

class Pool {
 public:
  explicit Pool(int workers) {
    threads_.reserve(static_cast<std::size_t>(workers));
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { Work(); });
  }

  ~Pool() {
    job_ = nullptr;
    Wake();
  }  // jthreads join here

  int workers() const { return static_cast<int>(threads_.size()); }

  void Run(Job& job) {
    job_ = &job;
    busy_.store(workers(), std::memory_order_relaxed);
    Wake();
    job.Run();
    for (int busy = busy_.load(); busy != 0; busy = busy_.load()) busy_.wait(busy);
  }

 private:
  void Wake() {
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }

  void Work() {
    std::uint32_t seen = 0;
    while (true) {
      round_.wait(seen, std::memory_order_acquire);
      ++seen;
      if (job_ == nullptr) return;
      job_->Run();
      if (busy_.fetch_sub(1) == 1) busy_.notify_one();
    }
  }

  Job* job_ = nullptr;                    // written before round_ is raised, null to stop
  std::atomic<std::uint32_t> round_ = 0;  // one more for every job
  std::atomic<int> busy_ = 0;             // workers that have not finished this round
  std::vector<std::jthread> threads_;     // last member: joined while the others still live
};

int AllowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

std::atomic<int> chosen_threads = 0;  // 0: not chosen, use AllowedCpus

}  // namespace

int NumThreads() {
  static const int allowed = AllowedCpus();
  const int chosen = chosen_threads.load();
  return chosen > 0 ? chosen : allowed;
}

void SetNumThreads(int threads) {
  if (threads < 1) Fail("number of threads is {}, expected at least 1", threads);
  chosen_threads = threads;
}

int ParallelWidth() { return inside_body ? 1 : NumThreads(); }

void ParallelFor(std::int64_t count, const std::function<void(std::int64_t)>& body) {
  static std::mutex pool_mutex;
  static std::unique_ptr<Pool> pool;

  const int threads = NumThreads();
  std::unique_lock lock(pool_mutex, std::defer_lock);
  // Nested calls, and calls made while another thread uses the pool, run here: waiting could
  // deadlock, and the results are the same.
  if (threads == 1 || count <= 1 || inside_body || !lock.try_lock()) {
    for (std::int64_t i = 0; i < count; ++i) body(i);
    return;
  }
  if (!pool || pool->workers() != threads - 1) {
    pool.reset();
    pool = std::make_unique<Pool>(threads - 1);
  }
  Job job;
  job.body = &body;
  job.count = count;
  job.chunk = std::max<std::int64_t>(1, count / (std::int64_t{32} * threads));
  pool->Run(job);
  if (job.error) std::rethrow_exception(job.error);
}

}  // namespace cacheready
