// SPDX-License-Identifier: Apache-2.0
#include "support/changed_checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>

#include "base/error.h"
#include "checkpoint/safetensors_header.h"
#include "model/model.h"
#include "stream/forward.h"

namespace cacheready {
namespace {

constexpr std::int64_t kBytesPerWeight = 2;

// [rows, cols] -> [cols, rows], two bytes an element.
std::vector<std::byte> Transposed(const std::vector<std::byte>& bytes, std::int64_t rows,
                                  std::int64_t cols) {
  std::vector<std::byte> result(bytes.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < cols; ++c) {
      std::copy_n(bytes.begin() + (r * cols + c) * kBytesPerWeight, kBytesPerWeight,
                  result.begin() + (c * rows + r) * kBytesPerWeight);
    }
  }
  return result;
}

}  // namespace

ChangedCheckpoint::ChangedCheckpoint(const std::filesystem::path& source) {
  static std::atomic<int> count = 0;
  folder_ = std::filesystem::temp_directory_path() /
            fmt::format("cacheready-changed-{}-{}", getpid(), count++);
  const Checkpoint checkpoint = Checkpoint::Open(source);
  config = checkpoint.config();
  for (const std::string_view name : checkpoint.TensorNames()) {
    const TensorView& view = checkpoint.GetTensor(name);
    tensors.push_back({view.name, view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}});
  }
}

ChangedCheckpoint::~ChangedCheckpoint() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

ChangedCheckpoint::Tensor& ChangedCheckpoint::Find(const std::string& name) {
  const auto found = std::find_if(tensors.begin(), tensors.end(),
                                  [&](const Tensor& tensor) { return tensor.name == name; });
  CR_CHECK(found != tensors.end(), "no tensor '{}'", name);
  return *found;
}

void ChangedCheckpoint::Remove(const std::string& name) {
  tensors.erase(tensors.begin() + (&Find(name) - tensors.data()));
}

void ChangedCheckpoint::Rename(const std::string& from, const std::string& to) {
  Find(from).name = to;
}

void ChangedCheckpoint::MoveBelow(const std::string& from, const std::string& to) {
  for (Tensor& tensor : tensors) {
    if (tensor.name.starts_with(from)) tensor.name.replace(0, from.size(), to);
  }
}

void ChangedCheckpoint::FuseExperts(const std::string& module, std::int64_t experts,
                                    bool transposed) {
  Tensor gate_up{.name = module + ".gate_up_proj", .dtype = Dtype::kBF16, .shape = {}, .bytes = {}};
  Tensor down{.name = module + ".down_proj", .dtype = Dtype::kBF16, .shape = {}, .bytes = {}};
  for (std::int64_t e = 0; e < experts; ++e) {
    const std::string expert = fmt::format("{}.{}.", module, e);
    const std::vector<std::int64_t> shape = Find(expert + "gate_proj.weight").shape;
    const std::int64_t width = shape[0], hidden = shape[1];
    std::vector<std::byte> rows = Find(expert + "gate_proj.weight").bytes;
    const std::vector<std::byte>& up = Find(expert + "up_proj.weight").bytes;
    rows.insert(rows.end(), up.begin(), up.end());
    std::vector<std::byte> down_rows = Find(expert + "down_proj.weight").bytes;
    if (transposed) {
      rows = Transposed(rows, 2 * width, hidden);
      down_rows = Transposed(down_rows, hidden, width);
    }
    gate_up.bytes.insert(gate_up.bytes.end(), rows.begin(), rows.end());
    down.bytes.insert(down.bytes.end(), down_rows.begin(), down_rows.end());
    gate_up.shape = {experts, 2 * width, hidden};
    down.shape = {experts, hidden, width};
    for (const char* name : {"gate_proj", "up_proj", "down_proj"}) {
      Remove(expert + name + ".weight");
    }
  }
  for (Tensor* fused : {&gate_up, &down}) {
    if (transposed) std::swap(fused->shape[1], fused->shape[2]);
    tensors.push_back(std::move(*fused));
  }
}

// Straight to the files, nothing synced: tests write thousands of these.
Checkpoint ChangedCheckpoint::Write() {
  std::filesystem::remove_all(folder_);
  std::filesystem::create_directories(folder_);
  std::vector<NamedTensor> stored;
  for (const Tensor& tensor : tensors) {
    stored.push_back({tensor.name, tensor.dtype, tensor.shape, tensor.bytes});
  }
  const std::vector<std::byte> weights = SerializeSafetensors(stored);
  std::ofstream(folder_ / "model.safetensors", std::ios::binary)
      .write(reinterpret_cast<const char*>(weights.data()),
             static_cast<std::streamsize>(weights.size()));
  std::ofstream(folder_ / "config.json", std::ios::binary) << WriteJson(config);
  return Checkpoint::Open(folder_);
}

std::string Refusal(ChangedCheckpoint& changed) {
  const Checkpoint checkpoint = changed.Write();
  try {
    DescribeModel(checkpoint);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::vector<std::byte> ForwardBits(const Checkpoint& checkpoint) {
  const std::unique_ptr<Model> model = DescribeModel(checkpoint);
  TokenBatch batch;
  for (std::int32_t n = 0; n < 40; ++n) {
    batch.ids.push_back(n * 7 % static_cast<std::int32_t>(model->info().vocab));
  }
  batch.bounds = {0, 15, 40};
  return SerializeForward(RunForward(*model, batch, Fp32Arithmetic()));
}

}  // namespace cacheready
