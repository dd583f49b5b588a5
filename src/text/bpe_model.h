// Byte-pair encoding: the `model` of a tokenizer.json, or the ranks of tiktoken.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace cacheready {

// What a piece is cut into before anything is merged.
enum class BpeUnit { kByte, kCharacter };

class BpeModel {
 public:
  // Tokens are written in GPT-2's byte alphabet if the unit is the byte. Fails on a feature that
  // changes ids and is not supported (dropout, subword prefixes, byte fallback of bytes), and on a
  // vocabulary or merge list that contradicts itself. `what` names the file.
  static BpeModel Parse(const Json& json, BpeUnit unit, std::string_view what);

  // As tiktoken: tokens[i] is the bytes of token i; two neighbours that are a token together merge,
  // the lowest id first; a piece that is a token is not cut at all. Fails if a byte has no token.
  static BpeModel FromRanks(const std::vector<std::string>& tokens, std::string_view what);

  // Appends the ids of one piece of text (well-formed UTF-8; not empty). Fails if a unit has no
  // token and there is no unknown token: `tokenizers` would drop it without a word.
  // O(n log n) in the length of the piece. Thread-safe.
  void Encode(std::string_view piece, std::vector<std::int32_t>& ids) const;

  std::int32_t FindToken(std::string_view token) const;  // -1 if absent
  std::int64_t num_tokens() const { return static_cast<std::int64_t>(vocab_.size()); }
  std::int32_t max_id() const { return max_id_; }  // -1 if empty

 private:
  struct Merge {
    std::uint32_t rank = 0;
    std::int32_t merged = 0;
  };
  struct Symbol;
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };
  void ReadVocab(const Json& json);
  void ReadMerges(const Json& json);
  void AddMerge(std::string_view left, std::string_view right, std::uint32_t rank);
  void FindByteTokens();
  std::int32_t FindUnit(std::string_view unit) const;
  [[noreturn]] void FailUnknown(std::string_view unit) const;
  bool AddFallback(std::string_view unit, std::vector<Symbol>& symbols) const;
  std::vector<Symbol> Symbols(std::string_view piece) const;
  void MergeAll(std::vector<Symbol>& symbols) const;
  const Merge* FindMerge(std::int32_t left, std::int32_t right) const;

  std::string what_;
  BpeUnit unit_ = BpeUnit::kByte;
  std::unordered_map<std::string, std::int32_t, TextHash, std::equal_to<>> vocab_;
  std::unordered_map<std::uint64_t, Merge> merges_;  // by left id << 32 | right id
  std::array<std::int32_t, 256> byte_ids_{};         // of unit kByte; -1 where there is no token
  std::array<std::int32_t, 256> fallback_ids_{};     // of "<0x00>" and so on; -1 likewise
  std::int32_t unknown_id_ = -1;
  std::int32_t max_id_ = -1;
  bool fuse_unknown_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
};

}  // namespace cacheready
