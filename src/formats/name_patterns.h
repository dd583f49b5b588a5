// Lists of modules as quantization configs write them.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cacheready {

// Names are compared as they stand and below the one prefix of all language models: a config says
// "model.layers.0" where the tensors say "model.language_model.layers.0" or
// "language_model.model.layers.0", and the other way round.
class NamePatterns {
 public:
  NamePatterns();
  ~NamePatterns();
  NamePatterns(NamePatterns&&) noexcept;
  NamePatterns& operator=(NamePatterns&&) noexcept;

  void AddName(const std::string& name);    // this module
  void AddTree(const std::string& name);    // this module and all below it
  void AddEnding(const std::string& name);  // the last parts of the name, between dots
  void AddText(const std::string& text);    // anywhere in the name
  void AddGlob(const std::string& glob);    // *, ? and [...]: the whole name, or one above it
  // A Python regular expression that matches from the start of the name (re.match). Fails, naming
  // `what`, if it is none.
  void AddRegex(const std::string& regex, std::string_view what);

  bool empty() const;
  // The entry by which the module is listed, nullptr if by none. Valid while this lives. Fails if
  // an expression takes more steps than a name may cost.
  const std::string* Find(std::string_view module) const;

 private:
  struct Regex;
  void AddCompiled(const std::string& entry, const std::string& pattern, std::string_view what);

  std::map<std::string, std::string, std::less<>> names_, trees_, endings_;  // canonical -> entry
  std::vector<std::string> texts_;
  std::vector<Regex> regexes_;
};

}  // namespace cacheready
