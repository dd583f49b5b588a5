// The tensors that are there beside a module and may be parts of its weight.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/weight_formats.h"

namespace cacheready {

class WeightParts {
 public:
  WeightParts(const FormatRequest& request, const TensorFinder& find);

  bool empty() const { return parts_.empty(); }
  // The tensor named module + suffix: nullptr if absent; Get requires it.
  const TensorView* Find(std::string_view suffix) const;
  const TensorView& Get(std::string_view suffix) const;
  const TensorView& first() const { return *parts_.front().second; }
  // All of `required` are there and nothing else but some of `optional`: a format recognizes a
  // weight only if it accounts for all of it.
  bool Are(std::initializer_list<std::string_view> required,
           std::initializer_list<std::string_view> optional = {}) const;
  std::vector<std::string> Names() const;
  std::string Text() const;  // "'m.weight' U8 [4, 8], 'm.weight_scale' ..."

 private:
  std::vector<std::pair<std::string_view, const TensorView*>> parts_;  // suffix, tensor
};

}  // namespace cacheready
