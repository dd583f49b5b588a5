// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/error.h"
#include "checkpoint/checkpoint.h"
#include "fuzz/targets.h"
#include "model/model.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

// A temporary checkpoint folder whose weights are those of a tiny model. Removed at exit.
class TinyCheckpoint {
 public:
  TinyCheckpoint() {
    std::string pattern = (fs::temp_directory_path() / "cacheready-fuzz-XXXXXX").string();
    CR_CHECK(mkdtemp(pattern.data()) != nullptr, "no temporary folder {}", pattern);
    folder_ = pattern;
    const fs::path weights =
        fs::path(CACHEREADY_SOURCE_DIR) / "goldens/families/qwen3_5_moe_text/model.safetensors";
    CR_CHECK(fs::exists(weights), "{} is gone, every config would be refused", weights.string());
    fs::create_symlink(weights, folder_ / "model.safetensors");
  }
  ~TinyCheckpoint() {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  TinyCheckpoint(const TinyCheckpoint&) = delete;
  TinyCheckpoint& operator=(const TinyCheckpoint&) = delete;

  Checkpoint OpenWith(std::span<const std::uint8_t> config) const {
    std::ofstream file(folder_ / "config.json", std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(config.data()),
               static_cast<std::streamsize>(config.size()));
    file.close();
    return Checkpoint::Open(folder_);
  }

 private:
  fs::path folder_;
};

}  // namespace

void FuzzConfig(std::span<const std::uint8_t> input) {
  static const TinyCheckpoint tiny;
  try {
    const Checkpoint checkpoint = tiny.OpenWith(input);
    const std::unique_ptr<Model> model = DescribeModel(checkpoint);
    CR_CHECK(model->info().layers > 0, "a model without layers");
  } catch (const Error&) {
  }
}

}  // namespace cacheready
