// SPDX-License-Identifier: Apache-2.0
#include "text/documents.h"

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/random.h"

namespace cacheready {
namespace {

constexpr std::string_view kTurnBegin = "<|im_start|>";
constexpr std::string_view kTurnEnd = "<|im_end|>";

std::string IdsSha256(const std::vector<std::int32_t>& ids) {
  std::vector<std::byte> bytes;
  bytes.reserve(4 * ids.size());
  for (const std::int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      bytes.push_back(static_cast<std::byte>(static_cast<std::uint32_t>(id) >> shift));
    }
  }
  return Sha256Hex(bytes);
}

void CutTo(Document& document, std::int64_t tokens) {
  if (static_cast<std::int64_t>(document.ids.size()) > tokens) {
    document.ids.resize(static_cast<std::size_t>(tokens));
  }
  document.sha256 = IdsSha256(document.ids);
}

// A message's content: text, or parts of which every one is text.
std::string ContentText(const Json& message, std::string_view what) {
  const Json& content = GetMember(message, "content", what);
  if (!content.is_array()) return GetString(message, "content", what);
  std::string text;
  for (const Json& part : content) {
    const std::string type = GetString(part, "type", what);
    if (type != "text") {
      Fail("{}: a content part is of type '{}', expected 'text' (only text is measured)", what,
           type);
    }
    text += GetString(part, "text", what);
  }
  return text;
}

std::string RenderChatMl(const Json& messages, std::string_view what) {
  if (!messages.is_array() || messages.empty()) {
    Fail("{}: key 'messages' is not a list of messages", what);
  }
  std::string text;
  for (const Json& message : messages) {
    text += kTurnBegin;
    text += GetString(message, "role", what);
    text += '\n';
    text += ContentText(message, what);
    text += kTurnEnd;
    text += '\n';
  }
  return text;
}

std::vector<std::int32_t> ParseIds(const Json& ids, std::string_view what) {
  if (!ids.is_array()) Fail("{}: key 'ids' is of type {}, expected a list", what, ids.type_name());
  std::vector<std::int32_t> out;
  for (const Json& id : ids) {
    if (!id.is_number_unsigned() ||
        id.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int32_t>::max()}) {
      Fail("{}: ids[{}] is no token id (an integer from 0 to 2147483647)", what, out.size());
    }
    out.push_back(id.get<std::int32_t>());
  }
  return out;
}

std::vector<std::int32_t> DocumentIds(const Json& line, std::string_view what,
                                      const Tokenizer* tokenizer) {
  const Json* text = FindMember(line, "text");
  const Json* messages = FindMember(line, "messages");
  const Json* ids = FindMember(line, "ids");
  if ((text != nullptr) + (messages != nullptr) + (ids != nullptr) != 1) {
    Fail("{}: expected exactly one of 'text', 'messages' and 'ids'", what);
  }
  if (ids != nullptr) return ParseIds(*ids, what);
  if (tokenizer == nullptr) Fail("{}: text needs a tokenizer, and there is none", what);
  if (text != nullptr) return tokenizer->Encode(GetString(line, "text", what));
  if (tokenizer->FindToken(kTurnBegin) < 0 || tokenizer->FindToken(kTurnEnd) < 0) {
    Fail(
        "{}: 'messages' are rendered as ChatML, but the tokenizer has no {} and {}; give 'text' "
        "with the template applied, or 'ids'",
        what, kTurnBegin, kTurnEnd);
  }
  return tokenizer->Encode(RenderChatMl(*messages, what));
}

// Each domain's share of `tokens`, smallest supply first: who has less than an equal part of what
// is left gives all, and the others divide the rest.
std::map<std::string, std::int64_t> Shares(const std::vector<Document>& documents,
                                           std::int64_t tokens) {
  std::map<std::string, std::int64_t> supply;
  for (const Document& document : documents) {
    supply[document.domain] += static_cast<std::int64_t>(document.ids.size());
  }
  std::vector<std::pair<std::int64_t, std::string>> by_supply;
  by_supply.reserve(supply.size());
  for (const auto& [domain, available] : supply) by_supply.emplace_back(available, domain);
  std::sort(by_supply.begin(), by_supply.end());
  std::map<std::string, std::int64_t> shares;
  auto domains_left = static_cast<std::int64_t>(by_supply.size());
  for (const auto& [available, domain] : by_supply) {
    const std::int64_t share = std::min(available, tokens / domains_left--);
    shares[domain] = share;
    tokens -= share;
  }
  return shares;
}

}  // namespace

std::vector<Document> ParseDocuments(std::string_view contents, std::string_view what,
                                     const Tokenizer* tokenizer, std::int64_t max_tokens,
                                     std::int64_t min_tokens) {
  std::vector<Document> documents;
  std::int64_t line_number = 0;
  while (!contents.empty()) {
    const std::size_t end = std::min(contents.find('\n'), contents.size());
    const std::string_view line = contents.substr(0, end);
    contents.remove_prefix(std::min(end + 1, contents.size()));
    ++line_number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string place = fmt::format("{}:{}", what, line_number);
    const Json json = ParseJson(line, place);
    Document document;
    document.ids = DocumentIds(json, place, tokenizer);
    document.domain = GetString(json, "domain", place, "");
    document.line = line_number;
    const bool cut = max_tokens > 0;
    CutTo(document, cut ? max_tokens : std::numeric_limits<std::int64_t>::max());
    if (static_cast<std::int64_t>(document.ids.size()) < min_tokens) continue;
    documents.push_back(std::move(document));
  }
  return documents;
}

std::vector<Document> SampleDocuments(std::vector<Document> documents, std::int64_t tokens,
                                      std::uint64_t seed) {
  if (tokens <= 0) Fail("cannot sample {} tokens of text, expected at least 1", tokens);
  const auto key = [seed](const Document& d) {
    return std::tuple(std::string_view(d.domain), HashText(seed, d.sha256),
                      std::string_view(d.sha256), d.line);
  };
  std::sort(documents.begin(), documents.end(),
            [&](const Document& a, const Document& b) { return key(a) < key(b); });
  const auto same = [](const Document& a, const Document& b) {
    return a.domain == b.domain && a.sha256 == b.sha256;
  };
  documents.erase(std::unique(documents.begin(), documents.end(), same), documents.end());

  std::map<std::string, std::int64_t> left = Shares(documents, tokens);
  std::vector<Document> sample;
  for (Document& document : documents) {
    std::int64_t& wanted = left[document.domain];
    if (wanted == 0 || document.ids.empty()) continue;
    CutTo(document, wanted);
    wanted -= static_cast<std::int64_t>(document.ids.size());
    sample.push_back(std::move(document));
  }
  std::sort(sample.begin(), sample.end(), [](const Document& a, const Document& b) {
    return std::tie(a.domain, a.sha256, a.line) < std::tie(b.domain, b.sha256, b.line);
  });
  return sample;
}

}  // namespace cacheready
