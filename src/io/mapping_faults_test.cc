// SPDX-License-Identifier: Apache-2.0
#include "io/mapping_faults.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "io/mapped_file.h"

namespace cacheready {
namespace {

namespace fs = std::filesystem;

void TouchBehindTheEnd(const fs::path& path) {
  std::ofstream(path, std::ios::binary) << std::string(20000, 'a');
  const MappedFile file(path);
  fs::resize_file(path, 10);
  const volatile std::byte* at = file.bytes().data() + 16384;
  std::_Exit(static_cast<int>(*at));
}

TEST(MappingFaultsDeathTest, AMappedFileThatShrinksEndsTheProgramWithItsNameAndTheCode) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const fs::path path = fs::path(testing::TempDir()) / "shrinks.safetensors";
  const auto handled = [&] {
    InstallMappingFaultHandler(3);
    TouchBehindTheEnd(path);
  };
  EXPECT_EXIT(
      handled(), testing::ExitedWithCode(3),
      "^cacheready: .*/shrinks.safetensors: byte 16384 of 20000 shrank or could not be read "
      "while in use\n$");
  fs::remove(path);
}

TEST(MappingFaultsDeathTest, AFaultElsewhereEndsItAsBefore) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto elsewhere = [] {
    InstallMappingFaultHandler(3);
    FILE* file = std::tmpfile();
    if (ftruncate(fileno(file), 4096) != 0) std::_Exit(9);
    void* mapped = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fileno(file), 0);
    if (ftruncate(fileno(file), 0) != 0) std::_Exit(9);
    std::_Exit(*static_cast<const volatile char*>(mapped));
  };
  EXPECT_EXIT(elsewhere(), testing::KilledBySignal(SIGBUS), "^$");
}

}  // namespace
}  // namespace cacheready
