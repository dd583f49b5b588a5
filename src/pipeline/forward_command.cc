// SPDX-License-Identifier: Apache-2.0
#include "base/console.h"
#include "base/error.h"
#include "cacheready/cacheready.h"
#include "io/publish.h"
#include "pipeline/files.h"
#include "pipeline/reading.h"
#include "pipeline/source.h"
#include "pipeline/text_table.h"
#include "stream/forward.h"

namespace cacheready {
namespace {

double SmallestMargin(const ForwardOutputs& outputs) {
  double smallest = std::numeric_limits<double>::infinity();
  for (const auto& [layer, router] : outputs.routers) {
    for (const float margin : router.routing.margin) {
      smallest = std::min(smallest, static_cast<double>(margin));
    }
  }
  return smallest;
}

// What it keeps: the hidden state of every layer, router outputs and logits, twice while they are
// written.
MemoryUse ForwardMemory(const Model& model, std::int64_t tokens) {
  const ModelInfo& info = model.info();
  MemoryUse use = StreamMemory(model, tokens, 1);
  const std::int64_t kept =
      (info.layers + 1) * info.hidden + info.vocab +
      static_cast<std::int64_t>(info.moe_layers.size()) * (info.experts + 2 * info.top_k + 1);
  use.held_bytes += 2 * static_cast<std::uint64_t>(tokens * kept) * sizeof(float);
  return use;
}

TokenBatch ReadBatch(const std::string& file, std::int64_t vocab) {
  TokenBatch batch = BatchOf(ReadIdsFile(file));
  for (const std::int32_t id : batch.ids) {
    if (id >= vocab) {
      Fail("{}: has token id {}, and the model's vocabulary ends at {}", file, id, vocab - 1);
    }
  }
  return batch;
}

}  // namespace

Outcome Forward(const ForwardRequest& request) {
  const auto source = OpenSource(request.source);
  const Profile& profile = GetProfile(request.profile.empty() ? "fp32" : request.profile);
  const Numerics numerics = ParseNumerics(request.numerics);
  const TokenBatch batch = ReadBatch(request.ids, source->model->info().vocab);
  RequireWritablePlace(request.out);
  Json json;
  json["schema"] = "cacheready.forward/1";
  json["family"] = source->model->info().family;
  json["profile"] = std::string(profile.name);
  json["numerics_class"] = std::string(NumericsClassName(numerics));
  json["tokens"] = batch.tokens();
  json["documents"] = batch.bounds.size() - 1;
  json["output"] = request.out;
  json["written"] = !request.dry_run;
  FactList facts;
  facts.Add("tokens", fmt::format("{} in {} rows", batch.tokens(), batch.bounds.size() - 1));
  facts.Add("profile", std::string(profile.name));
  facts.Add("numerics class", std::string(NumericsClassName(numerics)));
  if (!request.dry_run) {
    ManageReading({source->model.get()}, ForwardMemory(*source->model, batch.tokens()));
    const ForwardOutputs outputs =
        RunForward(*source->model, batch, {.profile = &profile, .numerics = numerics});
    const std::vector<std::byte> bytes = SerializeForward(outputs);
    PublishFile(request.out, std::span<const std::byte>(bytes));
    TellReading({source->model.get()});
    const double margin = SmallestMargin(outputs);
    json["smallest_selection_margin"] = margin;
    facts.Add("smallest selection margin", fmt::format("{:.3g}", margin));
    facts.Add("written", fmt::format("{} ({})", request.out, ByteText(bytes.size())));
  } else {
    facts.Add("would write", request.out);
  }
  return {.json = WriteJson(json), .summary = facts.Text()};
}

}  // namespace cacheready
