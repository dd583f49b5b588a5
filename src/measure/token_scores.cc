// SPDX-License-Identifier: Apache-2.0
#include "measure/token_scores.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/math.h"

namespace cacheready {
namespace {

// exp(logits - largest), and the logarithm of the normalizer.
struct Softmax {
  std::vector<double> exponentials;
  double sum = 0;
  double log_normalizer = 0;
  std::ptrdiff_t top = 0;
};

Softmax MakeSoftmax(std::span<const float> logits) {
  Softmax softmax;
  const auto largest = std::max_element(logits.begin(), logits.end());
  softmax.top = largest - logits.begin();
  const auto shift = static_cast<double>(*largest);
  softmax.exponentials.resize(logits.size());
  for (std::size_t n = 0; n < logits.size(); ++n) {
    softmax.exponentials[n] = Exp(static_cast<double>(logits[n]) - shift);
  }
  for (const double exponential : softmax.exponentials) softmax.sum += exponential;
  softmax.log_normalizer = shift + Log(softmax.sum);
  return softmax;
}

// sum p_base (log p_base - log p), term by term: equal logits give exactly 0.
double Divergence(const Softmax& base, std::span<const float> base_logits, const Softmax& other,
                  std::span<const float> logits) {
  double sum = 0;
  for (std::size_t n = 0; n < logits.size(); ++n) {
    const double log_base = static_cast<double>(base_logits[n]) - base.log_normalizer;
    const double log_other = static_cast<double>(logits[n]) - other.log_normalizer;
    sum += base.exponentials[n] * (log_base - log_other);
  }
  return std::max(0.0, sum / base.sum);  // below 0 by rounding only
}

}  // namespace

std::vector<TokenScore> ScoreToken(std::span<const std::span<const float>> logits,
                                   std::int32_t target) {
  std::vector<TokenScore> scores(logits.size());
  Softmax base;
  for (std::size_t v = 0; v < logits.size(); ++v) {
    CR_CHECK(target >= 0 && static_cast<std::size_t>(target) < logits[v].size(), "token {} of {}",
             target, logits[v].size());
    Softmax softmax = MakeSoftmax(logits[v]);
    scores[v].nll =
        softmax.log_normalizer - static_cast<double>(logits[v][static_cast<std::size_t>(target)]);
    if (v == 0) {
      base = std::move(softmax);
      continue;
    }
    scores[v].kl = Divergence(base, logits[0], softmax, logits[v]);
    scores[v].same_top = softmax.top == base.top;
  }
  return scores;
}

}  // namespace cacheready
