// SPDX-License-Identifier: Apache-2.0
#include "text/documents.h"

#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "io/mapped_file.h"
#include "text/tokenizer.h"

namespace cacheready {
namespace {

Tokenizer AnyTokenizer() {
  const std::string seed = ReadTextFile(std::filesystem::path(CACHEREADY_SOURCE_DIR) /
                                        "tests/fuzz/corpus/tokenizer/qwen2.bin");
  return Tokenizer::Parse(std::string_view(seed).substr(0, seed.find('\0')), "tokenizer.json");
}

}  // namespace

void FuzzDocuments(std::span<const std::uint8_t> input) {
  static const Tokenizer tokenizer = AnyTokenizer();
  try {
    const auto documents = ParseDocuments(AsText(input), "text.jsonl", &tokenizer, 16, 1);
    for (const Document& document : documents) {
      CR_CHECK(!document.ids.empty() && document.ids.size() <= 16, "{} ids", document.ids.size());
      CR_CHECK(document.sha256.size() == 64 && document.line > 0, "line {}", document.line);
    }
    std::size_t tokens = 0;
    for (const Document& document : SampleDocuments(documents, 24, 1)) {
      tokens += document.ids.size();
    }
    CR_CHECK(tokens <= 24, "{} tokens sampled", tokens);
  } catch (const Error&) {
  }
}

}  // namespace cacheready
