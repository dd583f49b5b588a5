// SPDX-License-Identifier: Apache-2.0
#include "text/tokenizer.h"

#include <algorithm>
#include <deque>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/split_patterns.h"
#include "text/tiktoken.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace cacheready {

// The four stages of `tokenizers`.
struct Tokenizer::Impl {
  std::vector<std::string_view> (*cut)(std::string_view) = nullptr;  // parts encoded apart, if any
  AddedTokenFinder raw_tokens;  // looked for in the text as it is
  Normalizer normalizer;
  AddedTokenFinder normalized_tokens;  // looked for in the normalized rest
  PreTokenizer pre_tokenizer;
  BpeModel model;
  std::map<std::string, std::int32_t, std::less<>> added_ids;
  std::int32_t max_id = -1;

  void AddTokens(const std::vector<AddedToken>& tokens, std::string_view what);
  void EncodePart(std::string_view text, std::vector<std::int32_t>& ids) const;
  void EncodeText(std::string_view text, bool begins, std::vector<std::int32_t>& ids) const;
  void EncodePlain(std::string_view text, bool begins, std::vector<std::int32_t>& ids) const;
};

void Tokenizer::Impl::AddTokens(const std::vector<AddedToken>& tokens, std::string_view what) {
  std::vector<AddedTokenFinder::Entry> raw;
  std::vector<AddedTokenFinder::Entry> normalized;
  max_id = model.max_id();
  for (const AddedToken& token : tokens) {
    if (token.normalized) {
      normalized.push_back({normalizer.Normalize(token.content), token});
    } else {
      raw.push_back({token.content, token});
    }
    added_ids.emplace(token.content, token.id);
    max_id = std::max(max_id, token.id);
  }
  raw_tokens = AddedTokenFinder(std::move(raw), what);
  normalized_tokens = AddedTokenFinder(std::move(normalized), what);
}

void Tokenizer::Impl::EncodePart(std::string_view text, std::vector<std::int32_t>& ids) const {
  for (const TextSegment& segment : raw_tokens.Find(text)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      EncodeText(segment.text, segment.text.data() == text.data(), ids);
    }
  }
}

// Text without raw tokens; `begins` if nothing was before it.
void Tokenizer::Impl::EncodeText(std::string_view text, bool begins,
                                 std::vector<std::int32_t>& ids) const {
  const std::string normal = normalizer.Normalize(text);
  for (const TextSegment& segment : normalized_tokens.Find(normal)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
    } else {
      EncodePlain(segment.text, begins && segment.text.data() == normal.data(), ids);
    }
  }
}

// Normalized text without any added token.
void Tokenizer::Impl::EncodePlain(std::string_view text, bool begins,
                                  std::vector<std::int32_t>& ids) const {
  std::deque<std::string> storage;
  for (const std::string_view piece : pre_tokenizer.Split(text, begins, storage)) {
    model.Encode(piece, ids);
  }
}

Tokenizer::Tokenizer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tokenizer::~Tokenizer() = default;
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;

Tokenizer Tokenizer::Parse(std::string_view json, std::string_view what) {
  const Json root = ParseJson(json, what);
  if (!root.is_object()) Fail("{}: is of type {}, expected an object", what, root.type_name());
  const std::string version = GetString(root, "version", what, "1.0");
  if (version != "1.0")
    Fail("{}: version '{}' is not supported (supported: 1.0)", what, Shortened(version));
  auto impl = std::make_unique<Impl>();
  impl->normalizer = Normalizer::Parse(FindMember(root, "normalizer"), what);
  impl->pre_tokenizer = PreTokenizer::Parse(FindMember(root, "pre_tokenizer"), what);
  if (impl->pre_tokenizer.depends_on_beginning() && !impl->normalizer.changes_nothing()) {
    // `tokenizers` asks where in the text before normalization a piece began.
    Fail("{}: Metaspace with prepend_scheme 'first' behind a normalizer is not supported", what);
  }
  const Json& model = GetMember(root, "model", what);
  if (!model.is_object()) {
    Fail("{}: key 'model' is of type {}, expected an object", what, model.type_name());
  }
  const bool bytes = impl->pre_tokenizer.is_byte_level();
  impl->model = BpeModel::Parse(model, bytes ? BpeUnit::kByte : BpeUnit::kCharacter, what);
  impl->AddTokens(ParseAddedTokens(FindMember(root, "added_tokens"), impl->model, what), what);
  return Tokenizer(std::move(impl));
}

Tokenizer Tokenizer::ParseTiktoken(std::string_view ranks, std::string_view ranks_what,
                                   std::string_view config, std::string_view config_what) {
  const std::vector<std::string> tokens = ParseTiktokenRanks(ranks, ranks_what);
  auto impl = std::make_unique<Impl>();
  impl->cut = CutLongText;
  impl->pre_tokenizer = PreTokenizer::ByteLevelWith(KimiPattern());
  impl->model = BpeModel::FromRanks(tokens, ranks_what);
  impl->AddTokens(ParseTiktokenSpecialTokens(ParseJson(config, config_what),
                                             static_cast<std::int64_t>(tokens.size()), config_what),
                  config_what);
  return Tokenizer(std::move(impl));
}

std::vector<std::int32_t> Tokenizer::Encode(std::string_view text) const {
  const std::size_t invalid = FindInvalidUtf8(text);
  if (invalid != std::string_view::npos) {
    Fail("text to tokenize is not UTF-8 at byte {} (0x{:02X})", invalid,
         static_cast<unsigned char>(text[invalid]));
  }
  std::vector<std::int32_t> ids;
  if (impl_->cut == nullptr) {
    impl_->EncodePart(text, ids);
  } else {
    for (const std::string_view part : impl_->cut(text)) impl_->EncodePart(part, ids);
  }
  return ids;
}

std::int32_t Tokenizer::FindToken(std::string_view token) const {
  const auto added = impl_->added_ids.find(token);
  return added != impl_->added_ids.end() ? added->second : impl_->model.FindToken(token);
}

std::int64_t Tokenizer::vocab_size() const { return std::int64_t{impl_->max_id} + 1; }

}  // namespace cacheready
