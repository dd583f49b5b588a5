// What people read of a verification.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "verify/verify.h"

namespace cacheready {

std::string VerificationText(const Verification& verification);

}  // namespace cacheready
