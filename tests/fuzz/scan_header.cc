// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "fuzz/scratch_folder.h"
#include "fuzz/targets.h"
#include "records/scan_record.h"

namespace cacheready {

void FuzzScanHeader(std::span<const std::uint8_t> input) {
  static const FuzzFolder folder;
  try {
    folder.Write("scan.json", input);
    const ScanHeader header = ReadScanHeader(folder.path());
    WriteScanHeader(folder.path(), header);
    CR_CHECK(ReadScanHeader(folder.path()).documents.size() == header.documents.size(),
             "number of documents changed");
  } catch (const Error&) {
  }
}

}  // namespace cacheready
