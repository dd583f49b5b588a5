// Matrix products of one expert of Qwen3.5-122B (hidden 3072, intermediate 1024) in every way the
// program computes them, each beside this machine's peak taken in the same seconds. Weights and
// tokens are normally distributed. Prints one JSON object; bench/gemm adds the commit.
// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <functional>
#include <iostream>
#include <memory>
#include <sstream>

#include "base/json.h"
#include "base/parallel.h"
#include "compute/kernels.h"
#include "compute/matmul.h"
#include "compute/matmul_bf16.h"
#include "compute/random_weights.h"
#include "compute/test_matrices.h"
#include "peak.h"
#include "summary.h"

namespace cacheready {
namespace {

struct Options {
  std::vector<std::string> formats = {"bf16", "fp8-block", "nvfp4", "mxfp4", "int-packed"};
  std::vector<std::int64_t> tokens = {1, 4, 16, 64, 256, 1024};
  int runs = 7;
  int threads = 1;
  std::string kernels;    // empty: the fastest
  bool emulated = false;  // also bf16 products that this CPU has no instruction for
};

// On a machine that others use too, the time that this process was given tells more than the clock.
bool cpu_time = false;

double SecondsOf(const std::function<void()>& work) {
  const auto now = [] {
    if (!cpu_time) return std::chrono::steady_clock::now().time_since_epoch();
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::chrono::steady_clock::duration((used.tv_sec * 1000000000 + used.tv_nsec) /
                                               NumThreads());
  };
  const auto begin = now();
  work();
  return std::chrono::duration<double>(now() - begin).count();
}

double PeakRate(const PeakLoop& peak) {
  const double seconds =
      SecondsOf([&] { ParallelFor(NumThreads(), [&](std::int64_t) { peak.run(); }); });
  return peak.operations * NumThreads() / seconds / 1e12;
}

std::vector<double> Shares(std::vector<double> rates, const std::vector<double>& of) {
  for (std::size_t i = 0; i < rates.size(); ++i) rates[i] /= of[i];
  return rates;
}

// Rates of `work`, each of its runs beside one of the peak, so that both see the same clock and the
// same neighbours. Runs are as long as the peak's, at least.
Json Measure(const Options& options, const PeakLoop& peak, const PeakLoop& ceiling,
             double operations, const std::function<void()>& work) {
  work();
  const double once = SecondsOf(work);
  const auto repeats = static_cast<std::int64_t>(std::clamp(0.005 / once, 1.0, 1e4));
  std::vector<double> rates, peaks, ceilings;
  for (int run = 0; run < options.runs; ++run) {
    if (peak.run != nullptr) peaks.push_back(PeakRate(peak));
    if (ceiling.run != nullptr) ceilings.push_back(PeakRate(ceiling));
    const double seconds = SecondsOf([&] {
      for (std::int64_t i = 0; i < repeats; ++i) work();
    });
    rates.push_back(operations * static_cast<double>(repeats) / seconds / 1e12);
  }
  Json result = {{"tflops", Summary(rates)}};
  if (!peaks.empty()) {
    result["peak"] = peak.name;
    result["peak_tflops"] = Summary(peaks);
    result["share_of_peak"] = Summary(Shares(rates, peaks));
  }
  if (!ceilings.empty()) {
    result["ceiling"] = ceiling.name;
    result["ceiling_tflops"] = Summary(ceilings);
    result["share_of_ceiling"] = Summary(Shares(rates, ceilings));
  }
  return result;
}

// One way to multiply: prepares the tokens once, as a layer does for all its experts.
struct Way {
  std::string name;
  PeakLoop peak;
  std::function<std::function<void()>(const EncodedMatrix& w, const Matrix& x)> prepare;
  PeakLoop ceiling = {};  // below the peak, by what else a product needs
};

volatile float sink;

Way Bf16Way(Bf16Numerics numerics, const PeakLoop& peak, const PeakLoop& ceiling = {}) {
  return {std::string(NumericsClassName(numerics)), peak,
          [numerics](const EncodedMatrix& w, const Matrix& x) {
            const auto packed =
                std::make_shared<Bf16Tokens>(x, Bf16BlockColumns(w, WeightReading::kStored));
            return [=, &w] { sink = MatMulBf16(w, *packed, numerics).at(0, 0); };
          },
          ceiling};
}

std::vector<Way> WaysOf(const Options& options, std::string_view format) {
  std::vector<Way> ways;
  ways.push_back({"fp32", FmaPeak(), [](const EncodedMatrix& w, const Matrix& x) {
                    const auto packed = std::make_shared<PackedTokens>(x);
                    return [=, &w] { sink = MatMul(w, *packed).at(0, 0); };
                  }});
  if (format == "fp8-block") {
    ways.push_back({"fp32-scaled", FmaPeak(), [](const EncodedMatrix& w, const Matrix& x) {
                      const auto codes = std::make_shared<PackedQuantizedTokens>(
                          QuantizeTokensE4m3(x, w.block_shape().cols));
                      return [=, &w] { sink = MatMulScaled(w, *codes).at(0, 0); };
                    }});
  }
  const std::string_view kernels = ActiveKernels().name;
  if (kernels == "amx" || options.emulated) {
    const bool amx = kernels == "amx";
    ways.push_back(Bf16Way(Bf16Numerics::kAmx, amx ? AmxPeak() : FmaPeak(),
                           amx ? AmxCachePeak() : PeakLoop{}));
  }
  if (kernels == "amx" || kernels == "avx512bf16" || options.emulated) {
    ways.push_back(Bf16Way(Bf16Numerics::kAvx512, FmaPeak()));
  }
  return ways;
}

// Billions of weights a second, 32 rows at a time into memory that stays in cache.
double DecodeRate(const EncodedMatrix& w) {
  constexpr std::int64_t kRows = 32;
  std::vector<float> strip(static_cast<std::size_t>(kRows * w.cols()));
  const double seconds = SecondsOf([&] {
    for (std::int64_t r = 0; r + kRows <= w.rows(); r += kRows)
      w.DecodeRows(r, kRows, strip.data());
  });
  sink = strip.front();
  return static_cast<double>(w.rows() / kRows * kRows * w.cols()) / seconds / 1e9;
}

Json Machine() {
  Json machine;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) break;  // the first processor tells all
    const std::string value = line.substr(std::min(colon + 2, line.size()));
    if (line.starts_with("model name")) machine["cpu"] = value;
    if (!line.starts_with("flags")) continue;
    std::istringstream flags(value);
    for (std::string flag; flags >> flag;) {
      const bool tells =
          flag == "avx2" || flag == "fma" || flag.starts_with("avx512") || flag.starts_with("amx");
      if (tells) machine["flags"].push_back(flag);
    }
  }
  return machine;
}

Json RunAll(const Options& options) {
  if (!options.kernels.empty()) SetActiveKernels(options.kernels);
  SetNumThreads(options.threads);
  Json result = {{"benchmark", "gemm"},
                 {"machine", Machine()},
                 {"compiler", __VERSION__},
                 {"kernels", ActiveKernels().name},
                 {"threads", NumThreads()},
                 {"runs", options.runs},
                 {"clock", cpu_time ? "CPU time" : "wall time"}};
  for (const std::string& format : options.formats) {
    for (const auto& [name, rows, cols] :
         {std::tuple{"gate_or_up", 1024, 3072}, std::tuple{"down", 3072, 1024}}) {
      const RandomWeight weight(format, rows, cols, 1);
      std::vector<double> rates;
      for (int run = 0; run < options.runs; ++run) rates.push_back(DecodeRate(weight.matrix()));
      result["decode"].push_back(
          {{"format", format}, {"matrix", name}, {"giga_weights_per_s", Summary(rates)}});
      for (const std::int64_t tokens : options.tokens) {
        const Matrix x = Normals(tokens, cols, 2);
        for (const Way& way : WaysOf(options, format)) {
          Json line = {{"format", format}, {"matrix", name},   {"rows", rows},
                       {"cols", cols},     {"tokens", tokens}, {"numerics", way.name}};
          line.update(Measure(options, way.peak, way.ceiling,
                              2.0 * rows * cols * static_cast<double>(tokens),
                              way.prepare(weight.matrix(), x)));
          std::cerr << line.dump() << '\n';
          result["products"].push_back(std::move(line));
        }
      }
    }
  }
  return result;
}

}  // namespace
}  // namespace cacheready

int main(int argc, char** argv) {
  CLI::App app("Matrix products beside the machine's peak; JSON on stdout");
  cacheready::Options options;
  app.add_option("--formats", options.formats)->delimiter(',')->capture_default_str();
  app.add_option("--tokens", options.tokens)->delimiter(',')->capture_default_str();
  app.add_option("-n,--runs", options.runs)->capture_default_str();
  app.add_option("--threads", options.threads)->capture_default_str();
  app.add_option("--kernels", options.kernels, "portable, avx2, avx512, avx512bf16 or amx");
  app.add_flag("--cpu-time", cacheready::cpu_time, "time given to the process, not of the clock");
  app.add_flag("--emulated", options.emulated, "also bf16 without its instruction");
  CLI11_PARSE(app, argc, argv);
  std::cout << cacheready::RunAll(options).dump(2) << '\n';
}
