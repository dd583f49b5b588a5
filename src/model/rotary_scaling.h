// How configs stretch rotary positions beyond the context that a model was trained on.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "model/config_reader.h"
#include "model/rotary.h"

namespace cacheready {

// Changes the frequencies and the factor of an unscaled rotary embedding with base `theta` as
// rope_type (older: type) of `parameters` says. Fails on a type that is not implemented.
void ScaleRotary(const ConfigReader& config, const ConfigReader& parameters, double theta,
                 Rotary& rotary);

// 1 + 0.1 mscale ln(factor), 1 for factors up to 1: how YaRN raises the attention's temperature.
double YarnMagnitude(double factor, double mscale);

}  // namespace cacheready
