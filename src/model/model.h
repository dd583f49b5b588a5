// A described model: its shape, and its layers opened one at a time. One implementation per family
// (families.cc).
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "arithmetic/profile.h"
#include "checkpoint/checkpoint.h"
#include "compute/sequence_ops.h"
#include "formats/encoded_matrix.h"
#include "model/router.h"
#include "tensor/matrix.h"

namespace cacheready {

// Token ids of several documents in a row; attention and recurrent state never cross a bound.
struct TokenBatch {
  std::vector<std::int32_t> ids;
  std::vector<std::int64_t> bounds = {0};  // [documents + 1]
  std::int64_t tokens() const { return static_cast<std::int64_t>(ids.size()); }
};

enum class Activation : std::uint8_t {
  kSwiglu,         // silu(g) u
  kClampedSwiglu,  // g <= 7, |u| <= 7: g sigmoid(1.702 g) (u + 1)
};

// down(act(gate x, up x))
struct FeedForward {
  EncodedMatrixPtr gate, up, down;  // [I, H], [I, H], [H, I]
  Activation activation = Activation::kSwiglu;
  std::vector<float> gate_bias = {}, up_bias = {}, down_bias = {};  // empty: none
};
Matrix RunFeedForward(const Arithmetic& arithmetic, Role role, const FeedForward& ffn,
                      const RowsView& x);
// Multiplications and additions of all calls so far, of this process.
std::uint64_t FeedForwardFlops();

// Where the router's numbers are stored: what a plan patches.
struct RouterTensors {
  std::string weight;               // [experts, hidden]
  std::string logit_bias = {};      // "" if the family has none
  std::string selection_bias = {};  // "" if none
};

class WeightStore;

// The routed part of one layer, opened.
struct MoeBlock {
  RouterSpec router;
  RouterTensors tensors;
  EncodedMatrixPtr router_weight;  // [experts, hidden]
  Role router_role = Role::kRouter;
  std::vector<FeedForward> experts;
  std::optional<FeedForward> shared;  // always added ...
  EncodedMatrixPtr shared_gate;       // ... times sigmoid(gate x) where there is one, [1, hidden]
  WeightStore* store = nullptr;       // of the weights; null: read as they are touched
  std::int64_t part = -1;             // of the store
};

Matrix RouterLogits(const Arithmetic& arithmetic, const MoeBlock& moe, const Matrix& x);
// Output of one expert on the given rows of x, unweighted: [rows.size(), hidden]. Experts that are
// run one after the other are gone through by model/expert_pass.h.
Matrix RunExpert(const Arithmetic& arithmetic, const MoeBlock& moe, std::int64_t expert,
                 const Matrix& x, std::span<const std::int32_t> rows);
Matrix RunShared(const Arithmetic& arithmetic, const MoeBlock& moe,
                 const Matrix& x);  // gated; zeros if none
// The block's output: the selected experts, weighted where the router's spec says, summed in the
// profile's order, plus the shared part.
Matrix RunMoe(const Arithmetic& arithmetic, const MoeBlock& moe, const Matrix& x,
              const Routing& routing);

// One decoder layer, opened: small parameters decoded, large ones viewed. Valid while its Model
// lives. Thread-safe.
class Layer {
 public:
  virtual ~Layer() = default;
  virtual void AddMixer(const Arithmetic& arithmetic, DocumentBounds documents,
                        Matrix& hidden) const = 0;  // h += mixer(norm(h))
  virtual Matrix FfnInput(const Arithmetic& arithmetic,
                          const Matrix& hidden) const = 0;  // x = norm(h)
  virtual const MoeBlock* moe() const = 0;                  // nullptr: dense
  virtual Matrix RunDense(const Arithmetic& arithmetic,
                          const Matrix& x) const = 0;  // dense layers only
  virtual void AddFfn(const Arithmetic& arithmetic, const Matrix& y,
                      Matrix& hidden) const = 0;  // h += y
};

struct MoeLayerInfo {
  std::int64_t layer = 0;  // -1 for a multi-token-prediction block
  RouterTensors tensors;
};

struct ModelInfo {
  std::string family;  // "qwen3_5_moe"
  std::int64_t layers = 0, hidden = 0, vocab = 0;
  std::int64_t experts = 0, top_k = 0;         // of the routed layers
  std::vector<MoeLayerInfo> moe_layers = {};   // of the decoder, ascending
  std::vector<MoeLayerInfo> mtp_routers = {};  // stored, not run
  std::string expert_format = {};              // WeightFormat name of the routed experts
  std::string expert_layout = {};              // "per-expert" or "fused"
  // What the config says: "fp8: w8a8 dynamic per token 128 columns"; "none" if not quantized.
  std::string quantization = {};
  std::int64_t expert_width = 0;   // of the routed experts: their intermediate size
  std::int64_t token_columns = 0;  // what all matrices of the widest layer but its experts give
  std::string attention = {};      // one phrase for people: "Gated DeltaNet 3 : 1 gated attention"
};

class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual Matrix Embed(const Arithmetic& arithmetic,
                       std::span<const std::int32_t> ids) const = 0;  // Fails on an id >= vocab
  virtual std::unique_ptr<Layer> OpenLayer(std::int64_t layer) const = 0;
  virtual Matrix FinalNorm(const Arithmetic& arithmetic, const Matrix& hidden) const = 0;
  // Of the weights that layers and head read; null: they are read as they are touched. Layers are
  // parts 0 ... layers - 1, the head (FinalNorm, Logits) is part `layers`.
  virtual WeightStore* store() const { return nullptr; }
  // [tokens, vocab] from the output of FinalNorm.
  virtual Matrix Logits(const Arithmetic& arithmetic, const Matrix& x) const = 0;
};

// Chooses the family by the config's model_type and architectures (families.cc), checks every
// tensor and shape against the config, and refuses by name: unknown families, config values that
// change the mathematics and are not implemented, quantized gates. `checkpoint` must outlive the
// model. Reads headers only.
std::unique_ptr<Model> DescribeModel(const Checkpoint& checkpoint);

// One line of the family table.
struct Family {
  std::string_view name;
  bool (*matches)(const Json& text_config, const Json& config);
  std::unique_ptr<Model> (*describe)(const Checkpoint& checkpoint);
};
std::span<const Family> Families();

}  // namespace cacheready
