// SPDX-License-Identifier: Apache-2.0
#include "text/open_tokenizer.h"

#include <array>
#include <string>
#include <system_error>

#include "base/error.h"
#include "io/mapped_file.h"

namespace cacheready {
namespace {

// Of other kinds of tokenizer, which a message can name.
constexpr std::array kOtherFiles = {"tokenizer.model", "tekken.json", "vocab.json"};

// A symlink to nothing counts as there: reading it tells what is wrong.
bool IsThere(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::symlink_status(path, ignored));
}

std::string ReadTokenizerFile(const std::filesystem::path& path) {
  std::string text = ReadTextFile(path);
  if (text.starts_with("version https://git-lfs")) {
    Fail("{}: is a Git LFS pointer, not the tokenizer; fetch it (git lfs pull)", path.string());
  }
  return text;
}

[[noreturn]] void FailWithoutTokenizer(const std::filesystem::path& folder) {
  std::string found;
  for (const char* name : kOtherFiles) {
    if (IsThere(folder / name)) found += fmt::format("{}{}", found.empty() ? "" : ", ", name);
  }
  Fail(
      "{}: holds no tokenizer.json and no tiktoken.model{}; put the model's tokenizer.json there, "
      "or give token ids "
      "instead of text (documents with 'ids')",
      folder.string(), found.empty() ? "" : fmt::format(" ({} cannot be read)", found));
}

}  // namespace

Tokenizer OpenTokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path json = folder / "tokenizer.json";
  if (IsThere(json)) return Tokenizer::Parse(ReadTokenizerFile(json), json.string());
  const std::filesystem::path ranks = folder / "tiktoken.model";
  const std::filesystem::path config = folder / "tokenizer_config.json";
  if (IsThere(ranks)) {
    return Tokenizer::ParseTiktoken(ReadTokenizerFile(ranks), ranks.string(),
                                    ReadTokenizerFile(config), config.string());
  }
  FailWithoutTokenizer(folder);
}

}  // namespace cacheready
