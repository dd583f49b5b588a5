// What becomes of a mapped file that shrinks or fails while it is in use: the kernel answers the
// next touch of such a page with SIGBUS, from whatever code that touches it.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>

namespace cacheready {

// From now on a SIGBUS in a mapping of ours ends the program with `exit_code` and one line on
// stderr that names the file and the byte. Others end it as before.
void InstallMappingFaultHandler(int exit_code);

// Tells the handler of a mapping. At most 4096 live at once; of those beyond, a fault ends the
// program without a message. Returns what to forget it by.
int NoteMapping(const void* address, std::size_t size, const std::filesystem::path& path);
void ForgetMapping(int noted);

}  // namespace cacheready
