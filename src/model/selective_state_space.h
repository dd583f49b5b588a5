// Mamba-1 (Gu and Dao 2023) with norms on the step, input and output projections, as Jamba uses it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "model/config_reader.h"
#include "model/mixer.h"
#include "model/weight_reader.h"

namespace cacheready {

struct SelectiveStateSpaceSpec {
  std::int64_t hidden = 0, channels = 0, states = 0;
  std::int64_t step_rank = 0;
  std::int64_t convolution_width = 4;
  bool convolution_bias = true;
  bool projection_bias = false;  // of in_proj and out_proj
  double norm_eps = 1e-6;
};
// mamba_expand, mamba_d_state, mamba_dt_rank ("auto": a sixteenth of the hidden size),
// mamba_d_conv, mamba_conv_bias, mamba_proj_bias.
SelectiveStateSpaceSpec ReadSelectiveStateSpace(const ConfigReader& config, std::int64_t hidden,
                                                double norm_eps);

// Opens in_proj, conv1d, x_proj, dt_proj, {dt,b,c}_layernorm, A_log, D and out_proj below `module`.
std::unique_ptr<Mixer> OpenSelectiveStateSpace(const WeightReader& weights,
                                               const std::string& module,
                                               const SelectiveStateSpaceSpec& spec);

}  // namespace cacheready
