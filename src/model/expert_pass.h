// A pass over experts of one layer: where their weights are not kept in memory, they are read in
// the order of the pass, ahead of their use, and dropped behind it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "model/model.h"

namespace cacheready {

class ExpertPass {
 public:
  // Experts in the order in which they are used; each is waited for and told to be done once.
  // `moe` must outlive the pass.
  ExpertPass(const MoeBlock& moe, std::vector<std::int32_t> order);
  ~ExpertPass();
  ExpertPass(const ExpertPass&) = delete;
  ExpertPass& operator=(const ExpertPass&) = delete;

  // Returns when the weights of order[index] are in memory. Fails if they cannot be read. Indices
  // are waited for in rising order, whoever waits; both calls from any thread.
  void Wait(std::int64_t index);
  void Done(std::int64_t index);

 private:
  void ReadAll();
  bool ReadSome(std::size_t& next);

  const MoeBlock& moe_;
  std::vector<std::int32_t> order_;
  bool managed_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<bool> loaded_, done_;
  std::uint64_t held_bytes_ = 0;
  std::exception_ptr error_;
  std::atomic<bool> stop_ = false;
  std::jthread reader_;  // last: joined while the others still live
};

// order[index] of a pass in memory while this lives, also where its user fails: other users must
// not wait for what it holds.
class HeldExpert {
 public:
  HeldExpert(ExpertPass& pass, std::int64_t index) : pass_(pass), index_(index) {
    pass_.Wait(index);
  }
  ~HeldExpert() { pass_.Done(index_); }
  HeldExpert(const HeldExpert&) = delete;
  HeldExpert& operator=(const HeldExpert&) = delete;

 private:
  ExpertPass& pass_;
  std::int64_t index_;
};

// Calls body(index) for every expert order[index], its weights in memory, on all threads.
void ForEachExpert(const MoeBlock& moe, std::vector<std::int32_t> order,
                   const std::function<void(std::int64_t index)>& body);
// Calls body(expert) likewise for every expert that has rows (rows[expert] is not empty), beginning
// with those that have most.
void ForEachExpertWithRows(const MoeBlock& moe, std::span<const std::vector<std::int32_t>> rows,
                           const std::function<void(std::int32_t expert)>& body);

}  // namespace cacheready
