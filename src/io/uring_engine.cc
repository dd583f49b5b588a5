// SPDX-License-Identifier: Apache-2.0
#include <liburing.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <string>

#include "base/error.h"
#include "io/read_engine.h"

namespace cacheready {
namespace {

// Reads of one call. Buffers belong to the caller, so no read may be in flight when it returns,
// with an error or without.
class UringReads {
 public:
  UringReads(io_uring& ring, std::span<const ReadPiece> pieces, const std::atomic<bool>* stop)
      : ring_(ring), pieces_(pieces), stop_(stop) {
    for (unsigned n = 0; n < kReadsInFlight; ++n) free_.at(n) = n;
  }

  void Run() {
    while (true) {
      Submit();
      if (in_flight_ == 0) break;
      Reap();
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct Slot {
    std::size_t piece = 0;
    std::size_t done = 0;
  };

  bool MayStart() const {
    return next_ < pieces_.size() && num_free_ > 0 && !error_ && !(stop_ && stop_->load());
  }

  void Submit() {
    while (MayStart()) {
      const unsigned slot = free_.at(--num_free_);
      slots_.at(slot) = {next_++, 0};
      Prepare(slot);
    }
    while (true) {
      const int submitted = io_uring_submit(&ring_);
      if (submitted >= 0) return;
      if (submitted == -EINTR || submitted == -EAGAIN || submitted == -EBUSY) continue;
      CR_CHECK(false, "io_uring_submit: {}", std::strerror(-submitted));
    }
  }

  void Prepare(unsigned slot) {
    const Slot& at = slots_.at(slot);
    const ReadPiece& piece = pieces_[at.piece];
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    CR_CHECK(entry != nullptr, "io_uring: more reads than entries");
    io_uring_prep_read(entry, piece.descriptor, piece.to + at.done,
                       static_cast<unsigned>(piece.length - at.done), piece.offset + at.done);
    entry->user_data = slot;
    ++in_flight_;
  }

  void Reap() {
    io_uring_cqe* completed = nullptr;
    int status = 0;
    do {
      status = io_uring_wait_cqe(&ring_, &completed);
    } while (status == -EINTR || status == -EAGAIN);
    CR_CHECK(status == 0, "io_uring_wait_cqe: {}", std::strerror(-status));
    const auto slot = static_cast<unsigned>(completed->user_data);
    const std::int64_t result = completed->res;
    io_uring_cqe_seen(&ring_, completed);
    --in_flight_;
    Slot& at = slots_.at(slot);
    const ReadPiece& piece = pieces_[at.piece];
    try {
      at.done = GoOnAfter(piece, at.done, result);
      if (at.done < piece.expected && !error_) {
        Prepare(slot);
        return;
      }
    } catch (...) {
      if (!error_) error_ = std::current_exception();
    }
    free_.at(num_free_++) = slot;
  }

  io_uring& ring_;
  std::span<const ReadPiece> pieces_;
  const std::atomic<bool>* stop_;
  std::size_t next_ = 0;
  unsigned in_flight_ = 0;
  std::array<Slot, kReadsInFlight> slots_{};
  std::array<unsigned, kReadsInFlight> free_{};
  unsigned num_free_ = kReadsInFlight;
  std::exception_ptr error_;
};

// A new ring may lie where another thread's was: liburing maps and unmaps by system calls of its
// own, which ThreadSanitizer does not see. This tells it who was first.
std::atomic<int> rings_open = 0;

class UringEngine final : public ReadEngine {
 public:
  ~UringEngine() override {
    if (!open_) return;
    --rings_open;
    io_uring_queue_exit(&ring_);
  }
  // 0 or -errno.
  int Open() {
    const int status = io_uring_queue_init(kReadsInFlight, &ring_, 0);
    open_ = status == 0;
    if (open_) ++rings_open;
    return status;
  }
  const char* name() const override { return "io_uring, O_DIRECT"; }
  void Read(std::span<const ReadPiece> pieces, const std::atomic<bool>* stop) override {
    UringReads(ring_, pieces, stop).Run();
  }

 private:
  io_uring ring_{};
  bool open_ = false;
};

}  // namespace

std::unique_ptr<ReadEngine> MakeUringEngine(std::string& reason) {
  auto engine = std::make_unique<UringEngine>();
  const int status = engine->Open();
  if (status == 0) return engine;
  reason = std::strerror(-status);
  return nullptr;
}

}  // namespace cacheready
