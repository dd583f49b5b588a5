// Why it goes on however little fits: the reader loads in the order of the pass and users begin in
// that order, so the first expert that is not done is loaded or next to be loaded, and its user, if
// it has one, waits for nothing else.
// SPDX-License-Identifier: Apache-2.0
#include "model/expert_pass.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "base/console.h"
#include "base/error.h"
#include "base/parallel.h"
#include "model/weight_store.h"

namespace cacheready {
namespace {

bool IsManaged(const MoeBlock& moe) { return PlanOf(moe.store).residency == Residency::kExperts; }

void DropOrWarn(const MoeBlock& moe, std::int32_t expert) {
  try {
    moe.store->DropExpert(moe.part, expert);
  } catch (const Error& error) {
    Warn(error.what());  // it stays in memory; nothing else comes of it
  }
}

}  // namespace

ExpertPass::ExpertPass(const MoeBlock& moe, std::vector<std::int32_t> order)
    : moe_(moe), order_(std::move(order)), managed_(IsManaged(moe)) {
  if (!managed_ || order_.empty()) return;
  loaded_.resize(order_.size());
  done_.resize(order_.size());
  reader_ = std::jthread([this] { ReadAll(); });
}

ExpertPass::~ExpertPass() {
  if (!managed_) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (reader_.joinable()) reader_.join();
  for (std::size_t n = 0; n < order_.size(); ++n) {
    if (loaded_[n] && !done_[n]) DropOrWarn(moe_, order_[n]);
  }
}

void ExpertPass::ReadAll() {
  try {
    for (std::size_t next = 0; next < order_.size();) {
      if (!ReadSome(next)) return;
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
  }
  changed_.notify_all();
}

// The next experts together: as many as are free to be held, but no more than half of what may be
// held, so that half is read while half is used. False: stopped.
bool ExpertPass::ReadSome(std::size_t& next) {
  const auto bytes_of = [&](std::size_t n) {
    return moe_.store->ExpertBytes(moe_.part, order_[n]);
  };
  const std::uint64_t limit = moe_.store->plan().expert_bytes;
  std::uint64_t batch = bytes_of(next);
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stop_ || held_bytes_ == 0 || held_bytes_ + batch <= limit; });
    if (stop_) return false;
    std::size_t end = next + 1;
    while (end < order_.size() && batch + bytes_of(end) <= limit / 2 &&
           held_bytes_ + batch + bytes_of(end) <= limit) {
      batch += bytes_of(end++);
    }
    held_bytes_ += batch;
    lock.unlock();
    moe_.store->LoadExperts(moe_.part, std::span(order_).subspan(next, end - next), stop_);
    lock.lock();
    if (stop_) return false;
    for (; next < end; ++next) loaded_[next] = true;
  }
  changed_.notify_all();
  return true;
}

void ExpertPass::Wait(std::int64_t index) {
  if (!managed_) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return loaded_[static_cast<std::size_t>(index)] || error_; });
  if (!loaded_[static_cast<std::size_t>(index)]) std::rethrow_exception(error_);
}

void ExpertPass::Done(std::int64_t index) {
  if (!managed_) return;
  const auto n = static_cast<std::size_t>(index);
  DropOrWarn(moe_, order_[n]);
  {
    const std::lock_guard lock(mutex_);
    done_[n] = true;
    held_bytes_ -= moe_.store->ExpertBytes(moe_.part, order_[n]);
  }
  changed_.notify_all();
}

void ForEachExpert(const MoeBlock& moe, std::vector<std::int32_t> order,
                   const std::function<void(std::int64_t)>& body) {
  const auto count = static_cast<std::int64_t>(order.size());
  if (!IsManaged(moe)) return ParallelFor(count, body);
  ExpertPass pass(moe, std::move(order));
  std::atomic<std::int64_t> next = 0;
  ParallelFor(NumThreads(), [&](std::int64_t) {
    for (std::int64_t index = next++; index < count; index = next++) {
      const HeldExpert held(pass, index);
      body(index);
    }
  });
}

void ForEachExpertWithRows(const MoeBlock& moe, std::span<const std::vector<std::int32_t>> rows,
                           const std::function<void(std::int32_t)>& body) {
  std::vector<std::int32_t> running;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    if (!rows[e].empty()) running.push_back(static_cast<std::int32_t>(e));
  }
  // Most rows first, so that the last task to start is a short one.
  std::ranges::stable_sort(running, std::ranges::greater(), [&](std::int32_t expert) {
    return rows[static_cast<std::size_t>(expert)].size();
  });
  ForEachExpert(moe, running, [&](std::int64_t n) { body(running[static_cast<std::size_t>(n)]); });
}

}  // namespace cacheready
