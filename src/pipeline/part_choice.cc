// SPDX-License-Identifier: Apache-2.0
#include "pipeline/part_choice.h"

#include <charconv>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "records/scan_part.h"

namespace cacheready {
namespace {

// Decimal digits only; nothing if there is anything else, or too much.
std::optional<std::int64_t> ParseCount(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

ScanPart ParsePart(const std::string& text) {
  const std::size_t slash = text.find('/');
  if (slash != std::string::npos) {
    const auto number = ParseCount(std::string_view(text).substr(0, slash));
    const auto of = ParseCount(std::string_view(text).substr(slash + 1));
    if (number && of && *number >= 1 && *number <= *of && *of <= kMostParts) return {*number, *of};
  }
  Fail("--part is '{}', expected I/N with I from 1 to N and N at most {}, or 'auto'", text,
       kMostParts);
}

// One launcher's word.
struct Rank {
  std::string variables;  // with their values, for messages
  ScanPart part;
};

class RankReader {
 public:
  explicit RankReader(const Environment& environment) : environment_(environment) {}

  bool Has(const char* name) const { return environment_(name) != nullptr; }

  std::int64_t Get(const char* name) const {
    const char* text = environment_(name);
    if (text == nullptr) Fail("--part auto: {} is not set, though others of its kind are", name);
    const std::optional<std::int64_t> value = ParseCount(text);
    if (!value) Fail("--part auto: {} is '{}', expected a number from 0 on", name, text);
    return *value;
  }

  // "A=1, B=2"; Fails on the first that is not set or no number.
  std::string Shown(std::initializer_list<const char*> names) const {
    std::string text;
    for (const char* name : names) {
      text += fmt::format("{}{}={}", text.empty() ? "" : ", ", name, Get(name));
    }
    return text;
  }

 private:
  const Environment& environment_;
};

Rank CheckedRank(std::string variables, std::int64_t rank, std::int64_t size) {
  if (rank >= size || size > kMostParts) {
    Fail("--part auto: {}: expected a rank below the number of processes, and these at most {}",
         variables, kMostParts);
  }
  return {std::move(variables), {rank + 1, size}};
}

std::optional<Rank> FindRank(const RankReader& reader, const char* rank, const char* size) {
  if (!reader.Has(rank)) return std::nullopt;
  return CheckedRank(reader.Shown({rank, size}), reader.Get(rank), reader.Get(size));
}

// Only arrays with equal steps number their tasks.
std::optional<Rank> FindArrayTask(const RankReader& reader) {
  constexpr const char* kId = "SLURM_ARRAY_TASK_ID";
  constexpr const char* kMin = "SLURM_ARRAY_TASK_MIN";
  constexpr const char* kMax = "SLURM_ARRAY_TASK_MAX";
  constexpr const char* kCount = "SLURM_ARRAY_TASK_COUNT";
  constexpr const char* kStep = "SLURM_ARRAY_TASK_STEP";
  if (!reader.Has(kId)) return std::nullopt;
  const std::string variables = reader.Shown({kId, kMin, kMax, kCount});
  const std::int64_t step = reader.Has(kStep) ? reader.Get(kStep) : 1;
  const std::int64_t offset = reader.Get(kId) - reader.Get(kMin);
  const std::int64_t reach = reader.Get(kMax) - reader.Get(kMin);
  const bool even = step > 0 && offset >= 0 && offset % step == 0 && reach >= offset &&
                    reach / step + 1 == reader.Get(kCount);
  if (!even) {
    Fail("--part auto: {}: expected an array of consecutive ids or of equal steps, as 1-16",
         variables);
  }
  return CheckedRank(variables, offset / step, reader.Get(kCount));
}

ScanPart PartOfRanks(const Environment& environment) {
  const RankReader reader(environment);
  std::vector<Rank> ranks;
  const auto add = [&](std::optional<Rank> rank) {
    if (rank) ranks.push_back(*std::move(rank));
  };
  add(FindRank(reader, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"));
  add(FindRank(reader, "RANK", "WORLD_SIZE"));
  if (ranks.empty()) add(FindRank(reader, "SLURM_PROCID", "SLURM_NTASKS"));
  add(FindArrayTask(reader));
  if (ranks.empty()) {
    Fail(
        "--part auto: no launcher's variables are set (Open MPI, torchrun, Slurm tasks or array); "
        "give --part I/N");
  }
  const Rank* chosen = &ranks.front();
  for (const Rank& rank : ranks) {
    if (rank.part.of == 1 || rank.part == chosen->part) continue;
    if (chosen->part.of != 1) {
      Fail("--part auto: {} and {} disagree; give --part I/N", chosen->variables, rank.variables);
    }
    chosen = &rank;
  }
  return chosen->part;
}

}  // namespace

ScanPart ChoosePart(const std::string& part, const Environment& environment) {
  return part == "auto" ? PartOfRanks(environment) : ParsePart(part);
}

ScanPart ChoosePart(const std::string& part) {
  return ChoosePart(part, [](const char* name) { return std::getenv(name); });
}

}  // namespace cacheready
