// SRC opened and described: what every command but `report` starts from.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "model/model.h"
#include "text/documents.h"

namespace cacheready {

struct Source {
  Checkpoint checkpoint;
  std::unique_ptr<Model> model;
};

// Resolves SRC, opens it, and tells its warnings on stderr. The Source must not move while its
// model is used.
std::unique_ptr<Source> OpenSource(const std::string& source);

// Documents of a JSONL file, tokenized with the checkpoint's own tokenizer. Fails if none is left,
// and on an id that the model does not have.
struct TextFile {
  std::string path;
  std::int64_t max_tokens = 0;  // of a document; 0 = not cut
  std::int64_t min_tokens = 1;
};
std::vector<Document> ReadText(const Source& source, const TextFile& text);

// Documents chosen by a hash of their ids, about one in four, are kept for checks; a scan gets the
// rest. By content, so that the order of lines and copies of a line do not matter.
struct SplitText {
  std::vector<Document> scan, held_out;
};
SplitText HoldOut(std::vector<Document> documents);

// Those of `documents` of which no scanned document is a prefix, or the other way round.
std::vector<Document> LeaveOutScanned(std::vector<Document> documents, const Json& scanned);

// Every document cut to `tokens` ids; those left with a single one are dropped.
std::vector<Document> CutDocuments(std::vector<Document> documents, std::int64_t tokens);

TokenBatch BatchOf(const std::vector<std::vector<std::int32_t>>& rows);

}  // namespace cacheready
