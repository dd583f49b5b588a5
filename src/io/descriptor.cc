// SPDX-License-Identifier: Apache-2.0
#include "io/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"

namespace cacheready {

Descriptor::~Descriptor() {
  if (descriptor_ >= 0) close(descriptor_);
}

Descriptor OpenForReading(const std::filesystem::path& path) {
  const int descriptor =
      RetryInterrupted([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); });
  if (descriptor >= 0) return Descriptor(descriptor);
  const int reason = errno;
  std::error_code ignored;
  if (reason == ENOENT && std::filesystem::is_symlink(path, ignored)) {
    Fail("{}: is a symbolic link to nothing; was the download interrupted?", path.string());
  }
  Fail("{}: cannot be opened: {}", path.string(), std::strerror(reason));
}

}  // namespace cacheready
