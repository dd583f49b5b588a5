// SPDX-License-Identifier: Apache-2.0
#include "synth/fused_twin.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "formats/encoded_matrix.h"
#include "synth/new_checkpoint.h"
#include "synth/routed_blocks.h"
#include "synth/stored_floats.h"

namespace cacheready {
namespace {

constexpr std::string_view kScaleSuffix = "_scale_inv";

BlockShape BlockShapeOf(const Checkpoint& source) {
  const Json* quantization = FindMember(source.config(), "quantization_config");
  const Json* size = quantization ? FindMember(*quantization, "weight_block_size") : nullptr;
  if (!size) return {128, 128};
  return {size->at(0).get<std::int64_t>(), size->at(1).get<std::int64_t>()};
}

// Turns tensors of `source` into their plain form.
class Dequantizer {
 public:
  Dequantizer(const Checkpoint& source, Dtype dtype)
      : source_(source), dtype_(dtype), block_(BlockShapeOf(source)) {}

  const Checkpoint& source() const { return source_; }

  // As stored if it has no scale beside it.
  NewTensor Plain(const TensorView& weight) const {
    if (!source_.FindTensor(weight.name + std::string(kScaleSuffix))) return CopyOf(weight);
    return {weight.name, dtype_, weight.shape, [this, &weight] { return Decode(weight.name); }};
  }

  // Expert matrices `projections` below each other, experts behind each other.
  NewTensor Fused(const RoutedBlock& block, const std::string& leaf,
                  const std::vector<std::string>& projections) const {
    const TensorView& first = Expert(block, 0, projections[0]);
    const auto parts = static_cast<std::int64_t>(projections.size());
    return {block.prefix + "experts." + leaf,
            PlainDtype(first),
            {block.experts, parts * first.shape.at(0), first.shape.at(1)},
            [this, block, projections] {
              std::vector<std::byte> bytes;
              for (std::int64_t e = 0; e < block.experts; ++e) {
                for (const std::string& projection : projections) {
                  const auto part = Plain(Expert(block, e, projection)).bytes();
                  bytes.insert(bytes.end(), part.begin(), part.end());
                }
              }
              return bytes;
            }};
  }

 private:
  const TensorView& Expert(const RoutedBlock& block, std::int64_t expert,
                           const std::string& projection) const {
    return source_.GetTensor(
        fmt::format("{}experts.{}.{}.weight", block.prefix, expert, projection));
  }

  Dtype PlainDtype(const TensorView& weight) const { return Plain(weight).dtype; }

  std::vector<std::byte> Decode(const std::string& name) const {
    const TensorView& weight = source_.GetTensor(name);
    const EncodedMatrixPtr matrix =
        MakeFp8BlockMatrix(weight, source_.GetTensor(name + std::string(kScaleSuffix)), block_);
    return StoreFloats(DecodeAll(*matrix).values(), dtype_);
  }

  const Checkpoint& source_;
  Dtype dtype_;
  BlockShape block_;
};

// Names of all tensors that go into the fused ones of `block`.
std::set<std::string> ExpertTensors(const RoutedBlock& block) {
  std::set<std::string> names;
  for (std::int64_t e = 0; e < block.experts; ++e) {
    for (const std::string& leaf : block.leaves) {
      names.insert(fmt::format("{}experts.{}.{}", block.prefix, e, leaf));
    }
  }
  return names;
}

Json PlainConfig(const Json& config, Dtype dtype) {
  Json plain = config;
  plain.erase("quantization_config");
  plain["dtype"] = dtype == Dtype::kF32 ? "float32" : "bfloat16";
  return plain;
}

}  // namespace

void WriteFusedTwin(const Checkpoint& source, const FusedTwinOptions& options,
                    const std::filesystem::path& out) {
  if (options.dtype != Dtype::kBF16 && options.dtype != Dtype::kF32) {
    Fail("a fused twin is BF16 or F32, asked for {}", DtypeName(options.dtype));
  }
  const Dequantizer dequantizer(source, options.dtype);
  std::vector<NewTensor> tensors;
  std::set<std::string> fused;
  for (const RoutedBlock& block : RoutedBlocks(source)) {
    if (block.mtp) continue;
    if (block.leaves.empty()) {
      Fail("{}: experts of '{}' are fused already", source.folder().string(), block.gate);
    }
    tensors.push_back(dequantizer.Fused(block, "gate_up_proj", {"gate_proj", "up_proj"}));
    tensors.push_back(dequantizer.Fused(block, "down_proj", {"down_proj"}));
    fused.merge(ExpertTensors(block));
  }
  for (std::string_view name : source.TensorNames()) {
    if (name.ends_with(kScaleSuffix) || fused.contains(std::string(name))) continue;
    tensors.push_back(dequantizer.Plain(source.GetTensor(name)));
  }
  std::sort(tensors.begin(), tensors.end(),
            [](const NewTensor& a, const NewTensor& b) { return a.name < b.name; });
  const std::vector<NewShard> shards = AssignShards(std::move(tensors), options.shard_bytes);
  WriteNewCheckpoint(out, PlainConfig(source.config(), options.dtype), shards, source.folder());
}

}  // namespace cacheready
