// SPDX-License-Identifier: Apache-2.0
#include "synth/normal_weights.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/parallel.h"
#include "base/random.h"
#include "io/descriptor.h"
#include "tensor/float_formats.h"

namespace cacheready {
namespace {

// So many draws of a normal number; an element takes one of them at random, which costs a fraction
// of drawing anew.
constexpr std::size_t kDraws = 1 << 16;
constexpr std::uint64_t kPieceElements = 4 << 20;  // a multiple of the four that share a hash

template <typename Value>
using Draws = std::array<Value, kDraws>;

template <typename Value, typename Encode>
const Draws<Value>& DrawsOf(Encode encode) {
  static const std::unique_ptr<const Draws<Value>> draws = [&] {
    auto values = std::make_unique<Draws<Value>>();
    for (std::size_t i = 0; i < kDraws; ++i) {
      (*values)[i] = static_cast<Value>(encode(static_cast<float>(NormalAt(1, i))));
    }
    return values;
  }();
  return *draws;
}

// Elements [begin, begin + out.size()) of a tensor; begin is a multiple of 4.
template <typename Value>
void Draw(const Draws<Value>& draws, std::uint64_t stream, std::uint64_t begin,
          std::span<Value> out) {
  for (std::size_t i = 0; i < out.size(); i += 4) {
    const std::uint64_t hash = HashWords({stream, (begin + i) / 4});
    for (std::size_t j = i; j < std::min(i + 4, out.size()); ++j) {
      out[j] = draws[hash >> (16 * (j - i)) & (kDraws - 1)];
    }
  }
}

std::vector<std::byte> ValuesOf(const NewTensor& tensor, std::uint64_t stream, std::uint64_t begin,
                                std::uint64_t count) {
  const auto draw = [&]<typename Value>(const Draws<Value>& draws) {
    std::vector<Value> values(count);
    Draw<Value>(draws, stream, begin, values);
    std::vector<std::byte> bytes(count * sizeof(Value));
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return bytes;
  };
  const bool is_scale = tensor.name.ends_with("_scale_inv");
  switch (tensor.dtype) {
    case Dtype::kF8E4M3:
      return draw(DrawsOf<std::uint8_t>([](float z) { return FloatToE4m3(112 * z); }));
    case Dtype::kBF16:
      if (is_scale) {
        return draw(DrawsOf<std::uint16_t>(
            [](float z) { return FloatToBf16(0.02f / 112 * std::exp2(0.25f * z)); }));
      }
      if (tensor.shape.size() > 1) {
        return draw(DrawsOf<std::uint16_t>([](float z) { return FloatToBf16(0.02f * z); }));
      }
      return draw(DrawsOf<std::uint16_t>([](float z) { return FloatToBf16(0.1f * z); }));
    case Dtype::kF32:
      return draw(DrawsOf<float>([](float z) { return 1 + 0.1f * z; }));
    default:
      Fail("tensor '{}' is {}: expected F8_E4M3, BF16 or F32 for random weights", tensor.name,
           DtypeName(tensor.dtype));
  }
}

class WritableFile {
 public:
  explicit WritableFile(const std::filesystem::path& path)
      : path_(path),
        descriptor_(RetryInterrupted([&] { return open(path.c_str(), O_WRONLY | O_CLOEXEC); })) {
    if (descriptor_.get() < 0) Stop();
  }

  void Write(std::span<const std::byte> bytes, std::uint64_t at) const {
    while (!bytes.empty()) {
      const ssize_t done = RetryInterrupted([&] {
        return pwrite(descriptor_.get(), bytes.data(), bytes.size(), static_cast<off_t>(at));
      });
      if (done < 0) Stop();
      bytes = bytes.subspan(static_cast<std::size_t>(done));
      at += static_cast<std::uint64_t>(done);
    }
  }
  void Sync() const {
    if (fsync(descriptor_.get()) != 0) Stop();
  }

 private:
  [[noreturn]] void Stop() const {
    Fail("{}: cannot be written: {}", path_.string(), std::strerror(errno));
  }

  std::filesystem::path path_;
  Descriptor descriptor_;
};

struct Piece {
  const NewTensor* tensor;
  std::uint64_t first_element, elements, file_offset;
};

std::vector<Piece> PiecesOf(const NewShard& shard, std::uint64_t data_begin) {
  std::vector<Piece> pieces;
  for (const NewTensor& tensor : shard) {
    const std::uint64_t bytes = StoredBytes(tensor);
    const auto width = static_cast<std::uint64_t>(DtypeBits(tensor.dtype)) / 8;
    for (std::uint64_t at = 0; at < bytes / width; at += kPieceElements) {
      pieces.push_back(
          {&tensor, at, std::min(kPieceElements, bytes / width - at), data_begin + at * width});
    }
    data_begin += bytes;
  }
  return pieces;
}

}  // namespace

void WriteNormalWeights(const std::filesystem::path& path, std::uint64_t data_begin,
                        const NewShard& shard, std::uint64_t seed) {
  const WritableFile file(path);
  const std::vector<Piece> pieces = PiecesOf(shard, data_begin);
  ParallelFor(static_cast<std::int64_t>(pieces.size()), [&](std::int64_t i) {
    const Piece& piece = pieces[static_cast<std::size_t>(i)];
    const std::uint64_t stream = HashText(seed, piece.tensor->name);
    file.Write(ValuesOf(*piece.tensor, stream, piece.first_element, piece.elements),
               piece.file_offset);
  });
  file.Sync();
}

}  // namespace cacheready
