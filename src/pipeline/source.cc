// SPDX-License-Identifier: Apache-2.0
#include "pipeline/source.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/console.h"
#include "base/error.h"
#include "base/random.h"
#include "io/mapped_file.h"
#include "scan/scan_text.h"
#include "text/open_tokenizer.h"

namespace cacheready {
namespace {

constexpr std::uint64_t kHoldOutSeed = 0x5ca1ab1e;
constexpr std::uint64_t kOneIn = 4;

bool NeedsTokenizer(std::string_view contents) {
  return contents.find("\"text\"") != std::string_view::npos ||
         contents.find("\"messages\"") != std::string_view::npos;
}

// Documents are told apart by what they start with: one that is cut elsewhere is the same text.
bool StartsAlike(const Document& document, const std::string& sha256, std::int64_t tokens) {
  if (tokens > static_cast<std::int64_t>(document.ids.size())) return false;
  return IdsSha256(std::span(document.ids).first(static_cast<std::size_t>(tokens))) == sha256;
}

void RequireKnownIds(const std::vector<Document>& documents, std::int64_t vocab,
                     const std::string& file) {
  for (const Document& document : documents) {
    for (const std::int32_t id : document.ids) {
      if (id < vocab) continue;
      Fail("{}:{}: has token id {}, and the model's vocabulary ends at {}", file, document.line, id,
           vocab - 1);
    }
  }
}

}  // namespace

std::unique_ptr<Source> OpenSource(const std::string& source) {
  auto opened = std::make_unique<Source>(Source{Checkpoint::Open(ResolveSource(source)), nullptr});
  for (const std::string& warning : opened->checkpoint.warnings()) Warn(warning);
  opened->model = DescribeModel(opened->checkpoint);
  return opened;
}

std::vector<Document> ReadText(const Source& source, const TextFile& text) {
  const std::string contents = ReadTextFile(text.path);
  std::optional<Tokenizer> tokenizer;
  if (NeedsTokenizer(contents)) tokenizer.emplace(OpenTokenizer(source.checkpoint.folder()));
  std::vector<Document> documents = ParseDocuments(
      contents, text.path, tokenizer ? &*tokenizer : nullptr, text.max_tokens, text.min_tokens);
  if (documents.empty()) {
    Fail(
        "{}: holds no document of at least {} tokens; expected JSON lines with 'text', 'messages' "
        "or 'ids'",
        text.path, text.min_tokens);
  }
  RequireKnownIds(documents, source.model->info().vocab, text.path);
  return documents;
}

SplitText HoldOut(std::vector<Document> documents) {
  SplitText split;
  for (Document& document : documents) {
    const bool held = HashText(kHoldOutSeed, document.sha256) % kOneIn == 0;
    (held ? split.held_out : split.scan).push_back(std::move(document));
  }
  return split;
}

std::vector<Document> LeaveOutScanned(std::vector<Document> documents, const Json& scanned) {
  std::vector<std::pair<std::string, std::int64_t>> seen;
  for (const Json& entry : scanned) {
    seen.emplace_back(GetString(entry, "sha256", "plan: text: scanned"),
                      GetInt(entry, "tokens", "plan: text: scanned"));
  }
  const auto was_scanned = [&](const Document& document) {
    return std::any_of(seen.begin(), seen.end(), [&](const auto& entry) {
      return StartsAlike(document, entry.first, entry.second);
    });
  };
  std::erase_if(documents, was_scanned);
  return documents;
}

std::vector<Document> CutDocuments(std::vector<Document> documents, std::int64_t tokens) {
  for (Document& document : documents) {
    if (static_cast<std::int64_t>(document.ids.size()) <= tokens) continue;
    document.ids.resize(static_cast<std::size_t>(tokens));
    document.sha256 = IdsSha256(document.ids);
  }
  std::erase_if(documents, [](const Document& document) { return document.ids.size() < 2; });
  return documents;
}

TokenBatch BatchOf(const std::vector<std::vector<std::int32_t>>& rows) {
  TokenBatch batch;
  for (const auto& row : rows) {
    batch.ids.insert(batch.ids.end(), row.begin(), row.end());
    batch.bounds.push_back(batch.tokens());
  }
  return batch;
}

}  // namespace cacheready
