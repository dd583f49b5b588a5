// SPDX-License-Identifier: Apache-2.0
#include "pipeline/reading.h"

#include <vector>

#include "base/console.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "base/phases.h"
#include "cacheready/cacheready.h"
#include "compute/product_totals.h"

namespace cacheready {
namespace {

struct ReadingSettings {
  std::uint64_t max_memory = 0;
  ReadMode mode = ReadMode::kAuto;
};

ReadingSettings& Settings() {
  static ReadingSettings settings;
  return settings;
}

std::vector<const Model*> WithoutNull(std::initializer_list<const Model*> models) {
  std::vector<const Model*> list;
  for (const Model* model : models) {
    if (model != nullptr) list.push_back(model);
  }
  return list;
}

}  // namespace

void SetMaxMemory(std::uint64_t bytes) { Settings().max_memory = bytes; }
void SetReading(const std::string& way) { Settings().mode = ParseReadMode(way); }

std::uint64_t ChosenMaxMemory() { return Settings().max_memory; }
ReadMode ChosenReadMode() { return Settings().mode; }

MemoryPlan PlanReading(std::initializer_list<const Model*> models, const MemoryUse& use,
                       std::uint64_t output_bytes) {
  return PlanMemory(WithoutNull(models), use,
                    {Settings().max_memory, output_bytes, Settings().mode});
}

MemoryPlan ManageReading(std::initializer_list<const Model*> models, const MemoryUse& use,
                         std::uint64_t output_bytes) {
  MemoryPlan plan = PlanReading(models, use, output_bytes);
  Use(WithoutNull(models), plan);
  Detail(fmt::format("memory: of the weights {}; at most {} of {} allowed",
                     ResidencyText(plan.reading.residency), ByteText(plan.peak_bytes),
                     ByteText(plan.max_bytes)));
  return plan;
}

void TellReading(std::initializer_list<const Model*> models) {
  for (const Model* model : WithoutNull(models)) {
    if (model->store() == nullptr) continue;
    Detail(fmt::format("read {} of weights ({}); most memory so far: {}",
                       ByteText(model->store()->bytes_read()), model->store()->way(),
                       ByteText(PeakResidentBytes())));
  }
  const ProductTotals products = AllProducts();
  Detail(fmt::format("products: {:.2f} TFLOP, {:.1f} s if {} threads had nothing else to do",
                     1e-12 * products.operations, products.thread_seconds / NumThreads(),
                     NumThreads()));
  if (const std::string text = PhaseText(); !text.empty()) Detail("time: " + text);
}

std::int64_t TokensIn(const std::vector<Document>& documents) {
  std::int64_t tokens = 0;
  for (const Document& document : documents) {
    tokens += static_cast<std::int64_t>(document.ids.size());
  }
  return tokens;
}

Json ToJson(const MemoryPlan& plan) {
  Json json;
  json["residency"] = ResidencyText(plan.reading.residency);
  json["max_bytes"] = plan.max_bytes;
  json["peak_bytes"] = plan.peak_bytes;
  json["output_bytes"] = plan.reading.output_bytes;
  return json;
}

void AddFacts(const MemoryPlan& plan, FactList& facts) {
  facts.Add("weights in memory", ResidencyText(plan.reading.residency));
  facts.Add("memory", fmt::format("at most {} of {} allowed", ByteText(plan.peak_bytes),
                                  ByteText(plan.max_bytes)));
}

}  // namespace cacheready
