// SPDX-License-Identifier: Apache-2.0
#include <malloc.h>
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <vector>

#include "base/console.h"
#include "base/error.h"
#include "cli/commands.h"
#include "io/image_reader.h"
#include "io/mapping_faults.h"

namespace cacheready {
namespace {

// Exit codes are part of the interface (README.md).
enum ExitCode { kDone = 0, kRefused = 1, kUsage = 2, kError = 3, kInterrupted = 75 };

struct GlobalOptions {
  bool json = false, quiet = false, verbose = false;
  int threads = 0;
  std::uint64_t max_memory = 0;
  std::string reading = "auto";
};

void AddGlobalOptions(CLI::App& app, GlobalOptions& options) {
  app.add_flag("--json", options.json, "print JSON on stdout instead of text");
  auto* quiet = app.add_flag("-q,--quiet", options.quiet, "say nothing on stderr but warnings");
  app.add_flag("-v,--verbose", options.verbose, "say more on stderr")->excludes(quiet);
  app.add_option("--threads", options.threads, "threads (default: the CPUs of this process)")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-memory", options.max_memory,
                 "most memory to use, 8GiB ... (default: 60 % of the machine's or the group's)")
      ->transform(CLI::AsSizeValue(true));
  app.add_option(
         "--io", options.reading,
         "how large files are read: auto, uring, direct, buffered, mmap; copies are written past "
         "the page cache but with the last two")
      ->check(
          CLI::IsMember(std::vector<std::string>(kReadModeNames.begin(), kReadModeNames.end())));
  app.set_version_flag("--version", std::string("cacheready ") + Version());
  app.fallthrough();
}

std::string CommandLine(int argc, char** argv) {
  std::string line = "cacheready";
  for (int n = 1; n < argc; ++n) {
    const std::string argument = argv[n];
    const bool quote = argument.find_first_of(" \t\n\"'\\$*?&|;<>()") != std::string::npos;
    line += quote ? " '" + argument + "'" : " " + argument;
  }
  return line;
}

// All of stdout, or an error: a report cut by a full disk must not look like a whole one.
void Print(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) Fail("stdout: cannot be written");
}

// A shard stays open while its checkpoint is, and there may be more of them than a shell allows.
void AllowManyFiles() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, 65536));
  setrlimit(RLIMIT_NOFILE, &limit);  // refused: opening the one too many will say so
}

// Memory of one layer serves the next: giving it back and having the kernel clear it anew costs
// more than the smaller matrices' arithmetic.
void KeepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

int Run(const GlobalOptions& options, const Invocation& invocation) {
  SetVerbosity(options.quiet     ? Verbosity::kQuiet
               : options.verbose ? Verbosity::kVerbose
                                 : Verbosity::kNormal);
  if (options.threads > 0) SetThreads(options.threads);
  SetMaxMemory(options.max_memory);
  SetReading(options.reading);
  KeepFreedMemory();
  AllowManyFiles();
  InstallInterruptHandler();
  InstallMappingFaultHandler(kError);
  const Outcome outcome = invocation.run();
  Print(options.json ? outcome.json : outcome.summary);
  return outcome.passed ? kDone : kRefused;
}

int Complain(const std::string& message, int code) {
  std::fputs(("cacheready: " + message + "\n").c_str(), stderr);
  return code;
}

int Main(int argc, char** argv) {
  CLI::App app(
      "Finds which experts of a Mixture-of-Experts checkpoint are interchangeable at serving "
      "precision,\nrewrites only their router rows, and proves that nothing else changed.",
      "cacheready");
  GlobalOptions options;
  Invocation invocation;
  invocation.command = CommandLine(argc, argv);
  AddGlobalOptions(app, options);
  app.require_subcommand(1);
  app.option_defaults()->always_capture_default();
  for (const CommandMaker add : Commands()) add(app, invocation);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  }
  try {
    return Run(options, invocation);
  } catch (const Interrupted& stop) {
    return Complain(stop.what(), kInterrupted);
  } catch (const std::bad_alloc&) {
    return Complain("out of memory; give fewer --tokens or a smaller --max-memory", kError);
  } catch (const std::exception& error) {
    return Complain(PrintableText(error.what()), kError);
  }
}

}  // namespace
}  // namespace cacheready

int main(int argc, char** argv) { return cacheready::Main(argc, argv); }
