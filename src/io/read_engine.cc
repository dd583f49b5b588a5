// SPDX-License-Identifier: Apache-2.0
#include "io/read_engine.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace cacheready {
namespace {

constexpr int kPreadThreads = 4;

class PreadEngine final : public ReadEngine {
 public:
  const char* name() const override { return "pread, O_DIRECT"; }

  void Read(std::span<const ReadPiece> pieces, const std::atomic<bool>* stop) override {
    std::atomic<std::size_t> next = 0;
    std::mutex error_mutex;
    std::exception_ptr error;
    const auto work = [&] {
      while (stop == nullptr || !stop->load()) {
        const std::size_t n = next.fetch_add(1);
        if (n >= pieces.size()) return;
        try {
          ReadPieceWhole(pieces[n]);
        } catch (...) {
          const std::lock_guard lock(error_mutex);
          if (!error) error = std::current_exception();
          next.store(pieces.size());
        }
      }
    };
    {
      std::vector<std::jthread> threads;
      const std::size_t count = std::min<std::size_t>(kPreadThreads, pieces.size());
      for (std::size_t n = 1; n < count; ++n) threads.emplace_back(work);
      work();
    }
    if (error) std::rethrow_exception(error);
  }
};

}  // namespace

void ReadPieceWhole(const ReadPiece& piece) {
  std::size_t done = 0;
  while (done < piece.expected) {
    const ssize_t got = pread(piece.descriptor, piece.to + done, piece.length - done,
                              static_cast<off_t>(piece.offset + done));
    done = GoOnAfter(piece, done, got < 0 ? -errno : got);
  }
}

std::size_t GoOnAfter(const ReadPiece& piece, std::size_t done, std::int64_t result) {
  if (result == -EINTR || result == -EAGAIN) return done;
  if (result < 0) {
    Fail("{}: {} bytes at offset {} cannot be read: {}", piece.path->string(), piece.length - done,
         piece.offset + done, std::strerror(static_cast<int>(-result)));
  }
  const std::size_t reached = done + static_cast<std::size_t>(result);
  if (reached >= piece.expected) return reached;
  const std::size_t again = piece.direct ? reached / kReadAlignment * kReadAlignment : reached;
  if (result == 0 || again <= done) {
    Fail("{}: {} bytes at offset {} were expected and {} found: the file shrank while in use",
         piece.path->string(), piece.expected, piece.offset, reached);
  }
  return again;
}

std::unique_ptr<ReadEngine> MakePreadEngine() { return std::make_unique<PreadEngine>(); }

}  // namespace cacheready
