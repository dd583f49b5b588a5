// SPDX-License-Identifier: Apache-2.0
#include "model/config_reader.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"

namespace cacheready {
namespace {

const Json kEmptyObject = Json::object();

constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;
constexpr std::int64_t kMaxLayers = 1 << 16;

std::int64_t CheckSize(std::int64_t value, std::int64_t least, std::string_view key,
                       const std::string& what) {
  if (value < least || value > kMaxSize) {
    Fail("{}: key '{}' is {}, expected at least {} and at most {}", what, key, value, least,
         kMaxSize);
  }
  return value;
}

// The entries of the array under `key`; none if it is absent.
void ForEachEntry(const Json& object, std::string_view key, const std::string& what,
                  const std::function<void(const Json&)>& body) {
  const Json* array = FindMember(object, key);
  if (array == nullptr) return;
  if (!array->is_array()) Fail("{}: key '{}' is no array", what, key);
  for (const Json& entry : *array) body(entry);
}

[[noreturn]] void Refuse(const std::string& what, std::string_view key, const Json& found,
                         const std::string& only) {
  Fail("{}: key '{}' is {}, and only {} is implemented: another value changes the mathematics",
       what, key, found.dump(), only);
}

}  // namespace

ConfigReader::ConfigReader(const Checkpoint& checkpoint)
    : object_(&checkpoint.text_config()),
      what_((checkpoint.folder() / "config.json").string() +
            (object_ == &checkpoint.config() ? "" : " (text part)")) {}

bool ConfigReader::Has(std::string_view key) const { return FindMember(*object_, key) != nullptr; }

bool ConfigReader::IsArray(std::string_view key) const {
  const Json* found = FindMember(*object_, key);
  return found != nullptr && found->is_array();
}

std::int64_t ConfigReader::Size(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) {
    if (Has(key)) return CheckSize(GetInt(*object_, key, what_), 1, key, what_);
  }
  Fail("{}: none of the keys '{}' is there", what_, fmt::join(keys, "', '"));
}

std::int64_t ConfigReader::Size(std::string_view key, std::int64_t fallback) const {
  return Has(key) ? Size(key) : fallback;
}

std::int64_t ConfigReader::Count(std::string_view key, std::int64_t fallback) const {
  return Has(key) ? CheckSize(GetInt(*object_, key, what_), 0, key, what_) : fallback;
}

bool ConfigReader::FlagOrNumber(std::string_view key, bool fallback) const {
  const Json* found = FindMember(*object_, key);
  if (found == nullptr || !found->is_number()) return Flag(key, fallback);
  return found->get<double>() != 0;
}

bool ConfigReader::IsText(std::string_view key, std::string_view text) const {
  const Json* found = FindMember(*object_, key);
  return found != nullptr && found->is_string() && found->get<std::string>() == text;
}

std::vector<std::string> ConfigReader::Texts(std::string_view key) const {
  std::vector<std::string> texts;
  ForEachEntry(*object_, key, what_, [&](const Json& entry) {
    if (!entry.is_string()) Fail("{}: key '{}' holds {}, no string", what_, key, entry.dump());
    texts.push_back(entry.get<std::string>());
  });
  return texts;
}

std::vector<std::int64_t> ConfigReader::Integers(std::string_view key) const {
  std::vector<std::int64_t> integers;
  ForEachEntry(*object_, key, what_, [&](const Json& entry) {
    if (!entry.is_number_integer()) {
      Fail("{}: key '{}' holds {}, no whole number", what_, key, entry.dump());
    }
    integers.push_back(entry.get<std::int64_t>());
  });
  return integers;
}

std::vector<std::int64_t> ConfigReader::Counts(std::string_view key) const {
  std::vector<std::int64_t> counts = Integers(key);
  for (const std::int64_t count : counts) CheckSize(count, 0, key, what_);
  return counts;
}

std::vector<double> ConfigReader::Numbers(std::string_view key) const {
  std::vector<double> numbers;
  ForEachEntry(*object_, key, what_, [&](const Json& entry) {
    if (!entry.is_number()) Fail("{}: key '{}' holds {}, no number", what_, key, entry.dump());
    numbers.push_back(entry.get<double>());
  });
  return numbers;
}

ConfigReader ConfigReader::Object(std::string_view key) const {
  const Json* object = FindMember(*object_, key);
  if (object == nullptr) object = &kEmptyObject;
  if (!object->is_object()) Fail("{}: key '{}' is no object", what_, key);
  return ConfigReader(*object, fmt::format("{}, {}", what_, key));
}

void ConfigReader::RequireText(std::string_view key, std::string_view only) const {
  const Json* found = FindMember(*object_, key);
  if (found != nullptr && !(found->is_string() && found->get<std::string>() == only)) {
    Refuse(what_, key, *found, fmt::format("\"{}\"", only));
  }
}

void ConfigReader::RequireFlag(std::string_view key, bool only) const {
  const Json* found = FindMember(*object_, key);
  if (found != nullptr && !(found->is_boolean() && found->get<bool>() == only)) {
    Refuse(what_, key, *found, only ? "true" : "false");
  }
}

void ConfigReader::RequireInteger(std::string_view key, std::int64_t only) const {
  const Json* found = FindMember(*object_, key);
  if (found != nullptr && !(found->is_number_integer() && found->get<std::int64_t>() == only)) {
    Refuse(what_, key, *found, fmt::format("{}", only));
  }
}

void ConfigReader::RequireNumber(std::string_view key, double only) const {
  const Json* found = FindMember(*object_, key);
  if (found != nullptr && !(found->is_number() && found->get<double>() == only)) {
    Refuse(what_, key, *found, fmt::format("{}", only));
  }
}

void ConfigReader::RequireEmpty(std::string_view key) const {
  const Json* found = FindMember(*object_, key);
  if (found != nullptr && !(found->is_structured() && found->empty())) {
    Refuse(what_, key, *found, "an empty value");
  }
}

void ConfigReader::RequireAbsent(std::string_view key) const {
  const Json* found = FindMember(*object_, key);
  if (found != nullptr) Refuse(what_, key, *found, "null");
}

bool TiesWordEmbeddings(const Checkpoint& checkpoint, bool fallback) {
  const ConfigReader whole(checkpoint.config(), (checkpoint.folder() / "config.json").string());
  const ConfigReader text(checkpoint);
  return whole.Flag("tie_word_embeddings", text.Flag("tie_word_embeddings", fallback));
}

std::int64_t ReadNumLayers(const ConfigReader& config) {
  const std::int64_t layers = config.Size("num_hidden_layers");
  if (layers > kMaxLayers) {
    Fail("{}: key 'num_hidden_layers' is {}, expected at most {}", config.what(), layers,
         kMaxLayers);
  }
  return layers;
}

std::vector<std::string> LayerTypes(const ConfigReader& config, std::int64_t layers,
                                    std::initializer_list<std::string_view> known,
                                    std::string (*fallback)(const ConfigReader& config,
                                                            std::int64_t layer)) {
  std::vector<std::string> types = config.Texts("layer_types");
  if (types.empty()) {
    for (std::int64_t layer = 0; layer < layers; ++layer) types.push_back(fallback(config, layer));
  }
  if (static_cast<std::int64_t>(types.size()) != layers) {
    Fail("{}: key 'layer_types' has {} entries for {} layers", config.what(), types.size(), layers);
  }
  for (const std::string& type : types) {
    if (std::find(known.begin(), known.end(), type) == known.end()) {
      Fail("{}: key 'layer_types' holds '{}', expected one of '{}'", config.what(), type,
           fmt::join(known, "', '"));
    }
  }
  return types;
}

}  // namespace cacheready
