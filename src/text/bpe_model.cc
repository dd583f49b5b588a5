// SPDX-License-Identifier: Apache-2.0
#include "text/bpe_model.h"

#include <algorithm>
#include <limits>
#include <queue>

#include "base/error.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_json.h"
#include "text/unicode.h"

namespace cacheready {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

std::uint64_t PairKey(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) |
         static_cast<std::uint32_t>(right);
}

// null, absent and "" mean the same.
void RefuseNonEmpty(const Json& json, std::string_view key, std::string_view what) {
  const std::string value = GetString(json, key, what, "");
  if (!value.empty()) Fail("{}: {} '{}' is not supported", what, key, Shortened(value));
}

void CheckFeatures(const Json& json, std::string_view what) {
  const bool legacy = FindMember(json, "type") == nullptr && FindMember(json, "merges") != nullptr;
  const std::string type = legacy ? "BPE" : GetString(json, "type", what);
  if (type != "BPE") Fail("{} '{}' is not supported (supported: BPE)", what, Shortened(type));
  if (GetDouble(json, "dropout", what, 0.0) != 0.0) {
    Fail("{}: dropout is not supported (ids would be random)", what);
  }
  RefuseNonEmpty(json, "continuing_subword_prefix", what);
  RefuseNonEmpty(json, "end_of_word_suffix", what);
}

}  // namespace

// One token of a piece while it is being merged: a doubly linked list inside a vector. Small,
// because a piece may be a whole text.
struct BpeModel::Symbol {
  std::int32_t id = 0;  // -1 once it is part of another
  std::uint32_t previous = kNone;
  std::uint32_t next = kNone;
};

BpeModel BpeModel::Parse(const Json& json, BpeUnit unit, std::string_view what) {
  BpeModel model;
  model.what_ = fmt::format("{}: model", what);
  model.unit_ = unit;
  CheckFeatures(json, model.what_);
  model.ReadVocab(json);
  model.ReadMerges(json);
  model.FindByteTokens();
  const std::string unknown = GetString(json, "unk_token", model.what_, "");
  if (!unknown.empty()) model.unknown_id_ = model.FindToken(unknown);
  model.fuse_unknown_ = GetBool(json, "fuse_unk", model.what_, false);
  model.ignore_merges_ = GetBool(json, "ignore_merges", model.what_, false);
  model.byte_fallback_ = GetBool(json, "byte_fallback", model.what_, false);
  if (model.byte_fallback_ && unit == BpeUnit::kByte) {
    Fail("{}: byte_fallback true with ByteLevel is not supported", model.what_);
  }
  return model;
}

BpeModel BpeModel::FromRanks(const std::vector<std::string>& tokens, std::string_view what) {
  // Each cut of a token in two is looked up: a token of megabytes would take forever.
  constexpr std::size_t kLongest = 1024;
  BpeModel model;
  model.what_ = what;
  model.ignore_merges_ = true;
  model.max_id_ = static_cast<std::int32_t>(tokens.size()) - 1;
  std::unordered_map<std::string_view, std::int32_t> ids;
  ids.reserve(tokens.size());
  model.vocab_.reserve(tokens.size());
  for (const std::string& token : tokens) {
    const auto id = static_cast<std::int32_t>(ids.size());
    if (token.empty() || token.size() > kLongest) {
      Fail("{}: token {} has {} bytes, expected 1 to {}", what, id, token.size(), kLongest);
    }
    const auto [twin, is_new] = ids.emplace(token, id);
    if (!is_new) Fail("{}: tokens {} and {} are the same bytes", what, twin->second, id);
    model.vocab_.emplace(ToByteAlphabet(token), id);
  }
  for (const auto& [token, id] : ids) {
    for (std::size_t cut = 1; cut < token.size(); ++cut) {
      const auto left = ids.find(token.substr(0, cut));
      if (left == ids.end()) continue;
      const auto right = ids.find(token.substr(cut));
      if (right == ids.end()) continue;
      model.merges_[PairKey(left->second, right->second)] = {static_cast<std::uint32_t>(id), id};
    }
  }
  model.FindByteTokens();
  for (std::size_t byte = 0; byte < 256; ++byte) {
    if (model.byte_ids_[byte] < 0) Fail("{}: byte 0x{:02X} has no token", what, byte);
  }
  return model;
}

void BpeModel::FindByteTokens() {
  for (unsigned byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = FindToken(ByteCharacter(static_cast<std::uint8_t>(byte)));
    fallback_ids_[byte] = FindToken(fmt::format("<0x{:02X}>", byte));
  }
}

void BpeModel::ReadVocab(const Json& json) {
  const Json& vocab = GetMember(json, "vocab", what_);
  if (!vocab.is_object()) {
    Fail("{}: key 'vocab' is of type {}, expected an object", what_, vocab.type_name());
  }
  vocab_.reserve(vocab.size());
  std::vector<std::int32_t> ids;
  for (const auto& [token, id] : vocab.items()) {
    // Not the largest 32-bit value: one more must still be an int32.
    const bool in_range = id.is_number_unsigned() && id.get<std::uint64_t>() < 0x7FFFFFFF;
    if (!in_range) {
      Fail("{}: vocab: token '{}' has id {}, expected an integer from 0 to 2147483646", what_,
           Shortened(token), Shortened(id.dump()));
    }
    ids.push_back(id.get<std::int32_t>());
    vocab_.emplace(token, ids.back());
  }
  std::sort(ids.begin(), ids.end());
  const auto twice = std::adjacent_find(ids.begin(), ids.end());
  if (twice != ids.end()) Fail("{}: vocab: two tokens have id {}", what_, *twice);
  if (!ids.empty()) max_id_ = ids.back();
}

void BpeModel::ReadMerges(const Json& json) {
  const Json& merges = RequireArray(json, "merges", what_);
  merges_.reserve(merges.size());
  std::uint32_t rank = 0;
  for (const Json& merge : merges) {
    if (merge.type() != merges.front().type()) {
      Fail("{}: merges mixes strings and pairs (at number {})", what_, rank);
    }
    if (merge.is_string()) {
      const std::string& text = merge.get_ref<const std::string&>();
      if (text.starts_with("#version")) continue;  // takes no rank
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        Fail("{}: merge number {} is '{}', expected two tokens with one space between", what_, rank,
             Shortened(text));
      }
      const std::string_view view = text;
      AddMerge(view.substr(0, space), view.substr(space + 1), rank++);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      AddMerge(merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>(),
               rank++);
    } else {
      Fail("{}: merge number {} is neither \"a b\" nor [\"a\", \"b\"]", what_, rank);
    }
  }
}

void BpeModel::AddMerge(std::string_view left, std::string_view right, std::uint32_t rank) {
  const std::string merged = std::string(left) + std::string(right);
  const std::int32_t left_id = FindToken(left);
  const std::int32_t right_id = FindToken(right);
  const std::int32_t merged_id = FindToken(merged);
  if (left_id < 0 || right_id < 0 || merged_id < 0) {
    const std::string_view absent = left_id < 0 ? left : right_id < 0 ? right : merged;
    Fail("{}: merge number {} ('{}' and '{}') needs token '{}', which is not in the vocabulary",
         what_, rank, Shortened(left), Shortened(right), Shortened(absent));
  }
  merges_[PairKey(left_id, right_id)] = {rank, merged_id};  // of equal pairs the last one counts
}

std::int32_t BpeModel::FindToken(std::string_view token) const {
  const auto found = vocab_.find(token);
  return found == vocab_.end() ? -1 : found->second;
}

const BpeModel::Merge* BpeModel::FindMerge(std::int32_t left, std::int32_t right) const {
  const auto found = merges_.find(PairKey(left, right));
  return found == merges_.end() ? nullptr : &found->second;
}

void BpeModel::Encode(std::string_view piece, std::vector<std::int32_t>& ids) const {
  if (ignore_merges_) {
    const std::int32_t whole =
        unit_ == BpeUnit::kByte ? FindToken(ToByteAlphabet(piece)) : FindToken(piece);
    if (whole >= 0) {
      ids.push_back(whole);
      return;
    }
  }
  std::vector<Symbol> symbols = Symbols(piece);
  MergeAll(symbols);
  for (const Symbol& symbol : symbols) {
    if (symbol.id >= 0) ids.push_back(symbol.id);
  }
}

std::int32_t BpeModel::FindUnit(std::string_view unit) const {
  if (unit_ == BpeUnit::kByte) return byte_ids_[static_cast<std::uint8_t>(unit.front())];
  return FindToken(unit);
}

// The bytes of a character, if each has a token.
bool BpeModel::AddFallback(std::string_view unit, std::vector<Symbol>& symbols) const {
  const auto id_of = [this](char c) { return fallback_ids_[static_cast<std::uint8_t>(c)]; };
  if (std::any_of(unit.begin(), unit.end(), [&](char c) { return id_of(c) < 0; })) return false;
  for (const char c : unit) symbols.push_back({.id = id_of(c)});
  return true;
}

// One symbol a unit. Units without a token are the unknown token, a run of them one if fuse_unk. An
// unknown waits for the next unit, and byte tokens do not end the wait: as in `tokenizers`, they go
// before it.
std::vector<BpeModel::Symbol> BpeModel::Symbols(std::string_view piece) const {
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size() + 1);
  bool unknown_waits = false;
  while (!piece.empty()) {
    const bool bytes = unit_ == BpeUnit::kByte;
    const std::string_view unit = piece.substr(0, bytes ? 1 : FirstCodePoint(piece).size_bytes);
    piece.remove_prefix(unit.size());
    const std::int32_t id = FindUnit(unit);
    if (id < 0 && byte_fallback_ && AddFallback(unit, symbols)) continue;
    if (unknown_waits && (id >= 0 || !fuse_unknown_)) symbols.push_back({.id = unknown_id_});
    unknown_waits = id < 0;
    if (id >= 0) symbols.push_back({.id = id});
    if (id < 0 && unknown_id_ < 0) FailUnknown(unit);
  }
  if (unknown_waits) symbols.push_back({.id = unknown_id_});
  if (symbols.size() >= kNone) Fail("{}: a piece of {} symbols is too long", what_, symbols.size());
  for (std::uint32_t i = 0; i < symbols.size(); ++i) {
    symbols[i].previous = i > 0 ? i - 1 : kNone;
    symbols[i].next = i + 1 < symbols.size() ? i + 1 : kNone;
  }
  return symbols;
}

void BpeModel::FailUnknown(std::string_view unit) const {
  if (unit_ == BpeUnit::kByte) {
    const auto byte = static_cast<std::uint8_t>(unit.front());
    Fail(
        "{}: the text has byte 0x{:02X}, which is not in the vocabulary ('{}'), and there is no "
        "unknown token",
        what_, byte, ByteCharacter(byte));
  }
  Fail(
      "{}: the text has the character '{}' (U+{:04X}), which is not in the vocabulary, and there "
      "is no unknown token",
      what_, unit, static_cast<std::uint32_t>(FirstCodePoint(unit).value));
}

// Always the merge of lowest rank, the leftmost of equals. The queue holds every pair that could
// merge when it was put in; one whose symbols have changed since is recognized by what it would
// become, and skipped.
void BpeModel::MergeAll(std::vector<Symbol>& symbols) const {
  struct Candidate {
    std::uint32_t rank;
    std::int32_t merged;
    std::uint32_t place;
    bool operator>(const Candidate& other) const {
      return rank != other.rank ? rank > other.rank : place > other.place;
    }
  };
  std::vector<Candidate> first;
  const auto add = [&](std::uint32_t place, auto&& put) {
    const std::uint32_t next = symbols[place].next;
    if (next == kNone) return;
    if (const Merge* merge = FindMerge(symbols[place].id, symbols[next].id)) {
      put(Candidate{merge->rank, merge->merged, place});
    }
  };
  first.reserve(symbols.size());
  for (std::uint32_t place = 0; place < symbols.size(); ++place) {
    add(place, [&](const Candidate& candidate) { first.push_back(candidate); });
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue({},
                                                                               std::move(first));
  const auto push = [&](const Candidate& candidate) { queue.push(candidate); };
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.place];
    if (left.id < 0 || left.next == kNone) continue;
    Symbol& right = symbols[left.next];
    const Merge* merge = FindMerge(left.id, right.id);
    if (merge == nullptr || merge->merged != top.merged) continue;
    left.id = top.merged;
    left.next = right.next;
    right.id = -1;
    if (right.next != kNone) symbols[right.next].previous = top.place;
    if (left.previous != kNone) add(left.previous, push);
    add(top.place, push);
  }
}

}  // namespace cacheready
