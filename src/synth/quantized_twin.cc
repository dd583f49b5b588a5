// SPDX-License-Identifier: Apache-2.0
#include "synth/quantized_twin.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "formats/encoded_matrix.h"
#include "synth/new_checkpoint.h"
#include "synth/quantizers.h"

namespace cacheready {
namespace {

constexpr std::string_view kExperts = ".experts.";
constexpr std::string_view kGateUp = "gate_up_proj";
constexpr std::string_view kDown = "down_proj";
constexpr std::string_view kWeight = ".weight";

// "model.layers.0.mlp.experts.3.up_proj" of the weight of one expert; nullopt for other tensors.
std::optional<std::string> ExpertModule(std::string_view name) {
  const std::size_t at = name.find(kExperts);
  if (at == std::string_view::npos || !name.ends_with(kWeight)) return std::nullopt;
  const std::string_view rest = name.substr(at + kExperts.size());
  const std::string_view number = rest.substr(0, rest.find('.'));
  const bool is_number =
      !number.empty() && number.size() < rest.size() &&
      std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!is_number) return std::nullopt;
  return std::string(name.substr(0, name.size() - kWeight.size()));
}

// "model.layers.0.mlp.experts." of a fused weight.
std::optional<std::string> FusedModule(std::string_view name, std::string_view leaf) {
  const std::size_t length = kExperts.size() + leaf.size();
  if (name.size() < length || !name.ends_with(leaf)) return std::nullopt;
  const std::string_view module = name.substr(0, name.size() - leaf.size());
  if (!module.ends_with(kExperts)) return std::nullopt;
  return std::string(module);
}

class TwinWriter {
 public:
  TwinWriter(const Checkpoint& source, const Quantizer& quantizer)
      : source_(source), quantizer_(quantizer) {}

  std::vector<NewTensor> Tensors() {
    for (const std::string_view name : source_.TensorNames()) AddTensor(source_.GetTensor(name));
    if (!found_) Fail("{}: has no experts to quantize", source_.folder().string());
    std::sort(tensors_.begin(), tensors_.end(),
              [](const NewTensor& a, const NewTensor& b) { return a.name < b.name; });
    return std::move(tensors_);
  }

 private:
  void AddTensor(const TensorView& tensor) {
    if (const auto module = ExpertModule(tensor.name)) {
      if (quantizer_.fused) {
        Fail("{}: '{}' is the weight of one expert, and '{}' is for fused ones",
             source_.folder().string(), tensor.name, quantizer_.name);
      }
      found_ = true;
      return AddParts(*module, quantizer_.quantize(DecodeAll(*MakePlainMatrix(tensor))));
    }
    if (const auto module = FusedModule(tensor.name, kGateUp)) return AddFused(*module);
    if (FusedModule(tensor.name, kDown)) return;  // comes with gate_up_proj
    tensors_.push_back(CopyOf(tensor));
  }

  void AddFused(const std::string& module) {
    found_ = true;
    const TensorView& gate_up = source_.GetTensor(module + std::string(kGateUp));
    const TensorView& down = source_.GetTensor(module + std::string(kDown));
    const bool transposed = IsTransposed(gate_up, down);
    if (quantizer_.fused) {
      AddTogether(gate_up, transposed);
      return AddTogether(down, transposed);
    }
    const std::int64_t width = gate_up.shape[transposed ? 2 : 1] / 2;
    for (std::int64_t e = 0; e < gate_up.shape[0]; ++e) {
      const auto add = [&](const char* projection, const TensorView& tensor, std::int64_t first,
                           std::int64_t rows) {
        const EncodedMatrixPtr matrix = MakePlainMatrix(
            tensor, {.index = e, .row_begin = first, .rows = rows, .transposed = transposed});
        AddParts(fmt::format("{}{}.{}", module, e, projection),
                 quantizer_.quantize(DecodeAll(*matrix)));
      };
      add("gate_proj", gate_up, 0, width);
      add("up_proj", gate_up, width, width);
      add("down_proj", down, 0, -1);
    }
  }

  // [E, 2I, H] and [E, H, I], or [E, H, 2I] and [E, I, H].
  static bool IsTransposed(const TensorView& gate_up, const TensorView& down) {
    const auto& a = gate_up.shape;
    const auto& b = down.shape;
    if (a.size() == 3 && b.size() == 3 && a[0] == b[0]) {
      if (a[2] == b[1] && a[1] == 2 * b[2]) return false;
      if (a[1] == b[2] && a[2] == 2 * b[1]) return true;
    }
    Fail("{}: '{}' {} and '{}' {} are no fused experts", gate_up.file, gate_up.name,
         ShapeText(gate_up.shape), down.name, ShapeText(down.shape));
  }

  // The parts of all experts behind each other.
  void AddTogether(const TensorView& tensor, bool transposed) {
    std::vector<QuantizedPart> all;
    for (std::int64_t e = 0; e < tensor.shape[0]; ++e) {
      const EncodedMatrixPtr matrix =
          MakePlainMatrix(tensor, {.index = e, .transposed = transposed});
      std::vector<QuantizedPart> parts = quantizer_.quantize(DecodeAll(*matrix));
      if (e == 0) {
        all = std::move(parts);
        continue;
      }
      for (std::size_t i = 0; i < all.size(); ++i) {
        all[i].bytes.insert(all[i].bytes.end(), parts[i].bytes.begin(), parts[i].bytes.end());
      }
    }
    for (QuantizedPart& part : all) part.shape.insert(part.shape.begin(), tensor.shape[0]);
    AddParts(tensor.name, std::move(all));
  }

  void AddParts(const std::string& module, std::vector<QuantizedPart> parts) {
    for (QuantizedPart& part : parts) {
      tensors_.push_back({module + part.suffix, part.dtype, std::move(part.shape),
                          [bytes = std::move(part.bytes)] { return bytes; }});
    }
  }

  const Checkpoint& source_;
  const Quantizer& quantizer_;
  std::vector<NewTensor> tensors_;
  bool found_ = false;
};

}  // namespace

void WriteQuantizedTwin(const Checkpoint& source, const QuantizedTwinOptions& options,
                        const std::filesystem::path& out) {
  const Quantizer& quantizer = GetQuantizer(options.quantizer);
  if (FindMember(source.config(), "quantization_config") != nullptr) {
    Fail("{}: is quantized already", source.folder().string());
  }
  const std::vector<NewShard> shards =
      AssignShards(TwinWriter(source, quantizer).Tensors(), options.shard_bytes);
  Json config = source.config();
  config["quantization_config"] = quantizer.config();
  WriteNewCheckpoint(out, config, shards, source.folder());
}

}  // namespace cacheready
