// SPDX-License-Identifier: Apache-2.0
#include "synth/shuffle.h"

#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "synth/new_checkpoint.h"

namespace cacheready {

void WriteShuffled(const Checkpoint& source, std::int64_t shards, std::uint64_t seed,
                   const std::filesystem::path& out) {
  std::vector<std::string_view> names = source.TensorNames();
  if (shards < 1 || static_cast<std::size_t>(shards) > names.size()) {
    Fail("{}: {} tensors cannot be dealt out over {} shards", source.folder().string(),
         names.size(), shards);
  }
  RandomStream random(seed);
  for (std::size_t left = names.size(); left > 1; --left) {  // Fisher-Yates
    std::swap(names[left - 1], names[random.Below(left)]);
  }
  std::vector<NewShard> dealt(static_cast<std::size_t>(shards));
  for (std::size_t i = 0; i < names.size(); ++i) {
    dealt[i % dealt.size()].push_back(CopyOf(source.GetTensor(names[i])));
  }
  WriteNewCheckpoint(out, source.config(), dealt, source.folder());
}

}  // namespace cacheready
