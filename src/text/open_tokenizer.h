// The tokenizer that lies beside a checkpoint's weights.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include "text/tokenizer.h"

namespace cacheready {

// Reads tokenizer.json of `folder`, or else tiktoken.model and tokenizer_config.json. Fails if
// there is neither, telling what to give instead, and on a pipeline that is not supported, by name.
// Symlinks are followed.
Tokenizer OpenTokenizer(const std::filesystem::path& folder);

}  // namespace cacheready
