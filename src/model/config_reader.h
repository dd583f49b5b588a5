// config.json as a family reads it: values by key with their aliases, errors that name the file and
// the key.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"

namespace cacheready {

class ConfigReader {
 public:
  // Reads checkpoint.text_config(); the checkpoint must outlive the reader.
  explicit ConfigReader(const Checkpoint& checkpoint);
  // Another object of the same file, e.g. rope_parameters; `path` is its place ("rope_parameters").
  ConfigReader(const Json& object, std::string what) : object_(&object), what_(std::move(what)) {}

  const std::string& what() const { return what_; }
  bool Has(std::string_view key) const;  // present and not null

  // A whole number of at least 1, under the first of the keys that is there. Sizes are bounded so
  // that products of two of them cannot overflow.
  std::int64_t Size(std::initializer_list<std::string_view> keys) const;
  std::int64_t Size(std::string_view key) const { return Size({key}); }
  std::int64_t Size(std::string_view key, std::int64_t fallback) const;
  // A whole number of at least 0.
  std::int64_t Count(std::string_view key, std::int64_t fallback) const;
  std::int64_t Integer(std::string_view key, std::int64_t fallback) const {
    return GetInt(*object_, key, what_, fallback);
  }
  bool IsArray(std::string_view key) const;
  double Number(std::string_view key) const { return GetDouble(*object_, key, what_); }
  double Number(std::string_view key, double fallback) const {
    return GetDouble(*object_, key, what_, fallback);
  }
  bool Flag(std::string_view key, bool fallback) const {
    return GetBool(*object_, key, what_, fallback);
  }
  // A flag that some files write as a number: 0 is false.
  bool FlagOrNumber(std::string_view key, bool fallback) const;
  std::string Text(std::string_view key, std::string_view fallback) const {
    return GetString(*object_, key, what_, fallback);
  }
  bool IsText(std::string_view key, std::string_view text) const;  // false if of another type
  std::vector<std::string> Texts(std::string_view key) const;      // empty if absent
  std::vector<std::int64_t> Integers(std::string_view key) const;
  std::vector<std::int64_t> Counts(std::string_view key) const;  // each as Count() takes it
  std::vector<double> Numbers(std::string_view key) const;
  // The object under `key`, or an empty one.
  ConfigReader Object(std::string_view key) const;

  // Refuses what changes the mathematics and is not implemented: Fails if the key is there with
  // another value than the one that this program computes.
  void RequireText(std::string_view key, std::string_view only) const;
  void RequireFlag(std::string_view key, bool only) const;
  void RequireInteger(std::string_view key, std::int64_t only) const;
  void RequireNumber(std::string_view key, double only) const;
  void RequireEmpty(std::string_view key) const;   // absent, null, [] or {}
  void RequireAbsent(std::string_view key) const;  // or null

 private:
  const Json* object_;
  std::string what_;
};

// tie_word_embeddings of the whole config where it stands there, else of its text part.
bool TiesWordEmbeddings(const Checkpoint& checkpoint, bool fallback = false);

// num_hidden_layers; fails above 65,536, which no memory could describe.
std::int64_t ReadNumLayers(const ConfigReader& config);

// The kind of every layer: `layer_types` where it is given (checked for its length and against
// `known`), else `fallback(layer)`.
std::vector<std::string> LayerTypes(const ConfigReader& config, std::int64_t layers,
                                    std::initializer_list<std::string_view> known,
                                    std::string (*fallback)(const ConfigReader& config,
                                                            std::int64_t layer));

}  // namespace cacheready
