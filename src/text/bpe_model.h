// Byte-level byte-pair encoding: the `model` of a tokenizer.json.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/json.h"

namespace cacheready {

class BpeModel {
 public:
  // Fails on a feature that changes ids and is not supported (dropout, subword prefixes, byte
  // fallback), and on a vocabulary or merge list that contradicts itself. `what` names the file.
  static BpeModel Parse(const Json& json, std::string_view what);

  // Appends the ids of one piece of text (raw bytes; not empty). Fails if a byte has no token and
  // there is no unknown token: `tokenizers` would drop it without a word.
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
  void ReadVocab(const Json& json);
  void ReadMerges(const Json& json);
  void AddMerge(std::string_view left, std::string_view right, std::uint32_t rank);
  std::vector<Symbol> Symbols(std::string_view piece) const;
  void MergeAll(std::vector<Symbol>& symbols) const;
  const Merge* FindMerge(std::int32_t left, std::int32_t right) const;

  std::string what_;
  std::unordered_map<std::string, std::int32_t> vocab_;
  std::unordered_map<std::uint64_t, Merge> merges_;  // by left id << 32 | right id
  std::array<std::int32_t, 256> byte_ids_{};         // -1 where the vocabulary lacks the byte
  std::int32_t unknown_id_ = -1;
  std::int32_t max_id_ = -1;
  bool fuse_unknown_ = false;
  bool ignore_merges_ = false;
};

}  // namespace cacheready
