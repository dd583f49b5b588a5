// SPDX-License-Identifier: Apache-2.0
#include "pipeline/module_classes.h"

#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "formats/weight_formats.h"
#include "formats/weight_parts.h"
#include "model/checkpoint_quantization.h"

namespace cacheready {
namespace {

// Modules as people talk of them; the first that fits counts.
struct ModuleClass {
  const char* name;
  std::vector<std::string_view> parts;  // of the tensor name
};
const std::vector<ModuleClass>& ModuleClasses() {
  static const std::vector<ModuleClass> classes = {
      {"multi-token prediction", {"mtp."}},
      {"vision", {"visual.", "vision_"}},
      {"shared experts", {"shared_expert", "shared_mlp"}},
      {"routed experts", {".experts.", "input_linear", "output_linear"}},
      {"embedding and head", {"embed_tokens", "lm_head", "embedding"}},
      {"norms", {"norm"}},
      {"mixers", {"attn", "attention", "linear_attn", "mamba", ".conv."}},
      {"dense feed-forward", {".mlp.", "feed_forward", "block_sparse_moe"}},
  };
  return classes;
}

std::string ClassOf(std::string_view tensor, const std::set<std::string>& routers) {
  if (routers.contains(std::string(tensor))) return "routers";
  for (const ModuleClass& module : ModuleClasses()) {
    for (const std::string_view part : module.parts) {
      if (tensor.find(part) != std::string_view::npos) return module.name;
    }
  }
  return "other";
}

// What is to be asked of the formats about the weight matrix whose codes a tensor holds.
std::optional<FormatRequest> RequestFor(std::string_view tensor) {
  for (const std::string_view codes : {".weight", ".weight_packed", ".qweight"}) {
    if (!tensor.ends_with(codes)) continue;
    return FormatRequest{.module = std::string(tensor.substr(0, tensor.size() - codes.size()))};
  }
  for (const std::string_view codes : {"_proj", "_proj_blocks"}) {
    if (!tensor.ends_with(codes)) continue;
    const std::size_t end = tensor.size() - codes.size() + std::string_view("_proj").size();
    return FormatRequest{.module = std::string(tensor.substr(0, end)), .slice = PlainSlice{}};
  }
  return std::nullopt;
}

// Where no format is recognized, nothing is claimed: a model that is carried along and not run may
// be stored in any.
class FormatNames {
 public:
  explicit FormatNames(const Checkpoint& checkpoint)
      : find_([&checkpoint](std::string_view name) { return checkpoint.FindTensor(name); }),
        quantization_(ReadQuantization(checkpoint)) {}

  std::string Of(FormatRequest request) const {
    request.scheme = quantization_.FindScheme(request.module);
    request.quant_method = quantization_.method;
    const WeightParts parts(request, find_);
    for (const WeightFormat& format : WeightFormats()) {
      if (!parts.empty() && format.recognize(request, parts)) return std::string(format.name);
    }
    return {};
  }

 private:
  TensorFinder find_;
  QuantizationConfig quantization_;
};

}  // namespace

std::map<std::string, ModuleTotals> CountModules(const Checkpoint& checkpoint,
                                                 const std::set<std::string>& routers) {
  const FormatNames formats(checkpoint);
  // One weight of each dtype and kind of name in a class is looked into: there may be 10^5.
  std::set<std::tuple<std::string, Dtype, std::string_view>> seen;
  std::map<std::string, ModuleTotals> classes;
  for (const std::string_view name : checkpoint.TensorNames()) {
    const TensorView& tensor = checkpoint.GetTensor(name);
    const std::string module = ClassOf(name, routers);
    ModuleTotals& totals = classes[module];
    ++totals.tensors;
    totals.bytes += tensor.bytes.size();
    const std::string_view ending = name.substr(name.rfind('.') + 1);
    if (!seen.emplace(module, tensor.dtype, ending).second) continue;
    totals.dtypes.insert(std::string(DtypeName(tensor.dtype)));
    const std::optional<FormatRequest> request = RequestFor(name);
    if (!request || tensor.shape.size() < 2) continue;
    if (std::string format = formats.Of(*request); !format.empty()) {
      totals.formats.insert(std::move(format));
    }
  }
  return classes;
}

}  // namespace cacheready
