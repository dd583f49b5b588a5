// The table of rope_type: one function a type, as transformers' modeling_rope_utils computes it.
// SPDX-License-Identifier: Apache-2.0
#include "model/rotary_scaling.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/math.h"

namespace cacheready {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

struct ScalingSource {
  const ConfigReader& config;
  const ConfigReader& parameters;
  double theta;
};

// The context before it was stretched.
double OriginalPositions(const ScalingSource& source) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  if (source.config.Has(kKey)) return static_cast<double>(source.config.Size(kKey));
  if (source.parameters.Has(kKey)) return static_cast<double>(source.parameters.Size(kKey));
  return static_cast<double>(source.config.Size("max_position_embeddings"));
}

// Where it is not given, the ratio of the stretched context to the original one.
double Factor(const ScalingSource& source) {
  const double factor =
      source.parameters.Has("factor")
          ? source.parameters.Number("factor")
          : source.config.Number("max_position_embeddings") / OriginalPositions(source);
  if (!(factor > 0)) {
    Fail("{}: key 'factor' is {}, expected more than 0", source.parameters.what(), factor);
  }
  return factor;
}

void KeepDefault(const ScalingSource& /*source*/, Rotary& /*rotary*/) {}

void ScaleLinear(const ScalingSource& source, Rotary& rotary) {
  const double factor = Factor(source);
  for (double& frequency : rotary.frequencies.inv_freq) {
    frequency = static_cast<float>(frequency / factor);
  }
}

// Llama 3: long waves are slowed down by the factor, short ones left alone, those between blended.
void ScaleLlama3(const ScalingSource& source, Rotary& rotary) {
  const double factor = Factor(source);
  const double low = source.parameters.Number("low_freq_factor");
  const double high = source.parameters.Number("high_freq_factor");
  const double positions = OriginalPositions(source);
  for (double& frequency : rotary.frequencies.inv_freq) {
    const double turns = positions * frequency / kTurn;  // in the original context
    if (turns > high) continue;
    const double blend = turns < low ? 0.0 : (turns - low) / (high - low);
    frequency = static_cast<float>((1 - blend) * frequency / factor + blend * frequency);
  }
}

struct YarnRange {
  double low, high;  // indices of frequencies: up to low unchanged, from high on slowed down
};

YarnRange FindYarnRange(const ScalingSource& source, std::int64_t dim) {
  const auto value_or = [&](std::string_view key, double fallback) {
    const double value = source.parameters.Number(key, fallback);
    return value == 0 ? fallback : value;
  };
  const auto index_of_turns = [&](double turns) {
    return static_cast<double>(dim) * Log(OriginalPositions(source) / (turns * kTurn)) /
           (2 * Log(source.theta));
  };
  YarnRange range{index_of_turns(value_or("beta_fast", 32)),
                  index_of_turns(value_or("beta_slow", 1))};
  if (source.parameters.Flag("truncate", true)) {
    range = {std::floor(range.low), std::ceil(range.high)};
  }
  range = {std::max(range.low, 0.0), std::min(range.high, static_cast<double>(dim - 1))};
  if (range.low == range.high) range.high += 0.001;
  return range;
}

double YarnFactor(const ScalingSource& source, double factor) {
  if (source.parameters.Has("attention_factor")) {
    return source.parameters.Number("attention_factor");
  }
  const double mscale = source.parameters.Number("mscale", 0);
  const double mscale_all_dim = source.parameters.Number("mscale_all_dim", 0);
  if (mscale == 0 || mscale_all_dim == 0) return YarnMagnitude(factor, 1);
  return YarnMagnitude(factor, mscale) / YarnMagnitude(factor, mscale_all_dim);
}

void ScaleYarn(const ScalingSource& source, Rotary& rotary) {
  const double factor = Factor(source);
  const YarnRange range = FindYarnRange(source, rotary.rotary_dim);
  for (std::size_t i = 0; i < rotary.frequencies.inv_freq.size(); ++i) {
    const double slowed =
        std::clamp((static_cast<double>(i) - range.low) / (range.high - range.low), 0.0, 1.0);
    const double frequency = rotary.frequencies.inv_freq[i];
    rotary.frequencies.inv_freq[i] =
        static_cast<float>(frequency / factor * slowed + frequency * (1 - slowed));
  }
  rotary.frequencies.factor = YarnFactor(source, factor);
}

// Hunyuan: alpha fixes the base. Without it the base would depend on the length of each document.
void ScaleDynamic(const ScalingSource& source, Rotary& rotary) {
  if (!source.parameters.Has("alpha")) {
    Fail("{}: rope_type \"dynamic\" is implemented with a key 'alpha' only",
         source.parameters.what());
  }
  const double alpha = source.parameters.Number("alpha");
  const auto dim = static_cast<double>(rotary.rotary_dim);
  if (!(alpha > 0) || !(dim > 2)) {
    Fail("{}: key 'alpha' is {}, with {} rotated columns a head", source.parameters.what(), alpha,
         dim);
  }
  const double base = source.theta * Pow(alpha, dim / (dim - 2));
  for (std::size_t i = 0; i < rotary.frequencies.inv_freq.size(); ++i) {
    rotary.frequencies.inv_freq[i] =
        static_cast<float>(Pow(base, -2 * static_cast<double>(i) / dim));
  }
}

double LongFactor(const ScalingSource& source, std::string_view mscale) {
  if (source.parameters.Has(mscale)) return source.parameters.Number(mscale);
  if (source.parameters.Has("attention_factor")) {
    return source.parameters.Number("attention_factor");
  }
  const double factor = Factor(source);
  return factor <= 1 ? 1 : std::sqrt(1 + Log(factor) / Log(OriginalPositions(source)));
}

RotaryFrequencies DivideBy(const ScalingSource& source, std::string_view key,
                           RotaryFrequencies frequencies) {
  const std::vector<double> divisors = source.parameters.Numbers(key);
  if (divisors.size() != frequencies.inv_freq.size()) {
    Fail("{}: key '{}' has {} entries for {} frequencies", source.parameters.what(), key,
         divisors.size(), frequencies.inv_freq.size());
  }
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    if (!(divisors[i] > 0)) {
      Fail("{}: key '{}' holds {}, expected more than 0", source.parameters.what(), key,
           divisors[i]);
    }
    frequencies.inv_freq[i] = static_cast<float>(frequencies.inv_freq[i] / divisors[i]);
  }
  return frequencies;
}

// LongRoPE as Phi-3.5 was published with: documents beyond the original context turn by the long
// factors from their first token on.
void ScaleLong(const ScalingSource& source, Rotary& rotary) {
  rotary.long_above = static_cast<std::int64_t>(OriginalPositions(source));
  rotary.long_frequencies = DivideBy(source, "long_factor", rotary.frequencies);
  rotary.frequencies = DivideBy(source, "short_factor", rotary.frequencies);
  rotary.long_frequencies.factor = LongFactor(source, "long_mscale");
  rotary.frequencies.factor = LongFactor(source, "short_mscale");
}

struct RopeType {
  std::string_view name;
  void (*scale)(const ScalingSource& source, Rotary& rotary);
};

constexpr RopeType kRopeTypes[] = {
    {"default", KeepDefault}, {"dynamic", ScaleDynamic}, {"linear", ScaleLinear},
    {"llama3", ScaleLlama3},  {"longrope", ScaleLong},   {"yarn", ScaleYarn},
};

}  // namespace

void ScaleRotary(const ConfigReader& config, const ConfigReader& parameters, double theta,
                 Rotary& rotary) {
  const std::string type = parameters.Text("rope_type", parameters.Text("type", "default"));
  std::string known;
  for (const RopeType& line : kRopeTypes) {
    if (line.name == type) return line.scale({config, parameters, theta}, rotary);
    known += (known.empty() ? "" : ", ") + std::string(line.name);
  }
  Fail("{}: key 'rope_type' is \"{}\", and only {} are implemented", parameters.what(), type,
       known);
}

double YarnMagnitude(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * Log(factor) + 1.0;
}

}  // namespace cacheready
