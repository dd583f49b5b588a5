// SPDX-License-Identifier: Apache-2.0
#include <memory>

#include "base/error.h"
#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "io/mapped_file.h"
#include "synth/fused_twin.h"
#include "synth/graded.h"
#include "synth/planted.h"
#include "synth/shuffle.h"
#include "synth/skeleton.h"

namespace cacheready {
namespace {

struct SynthRequest {
  std::string source, out, dtype = "bf16", size, config, weights = "none";
  PlantedOptions planted;
  std::vector<double> scales;
  std::int64_t shards = 4;
  std::uint64_t seed = 1;
};
using Request = std::shared_ptr<SynthRequest>;

Outcome Made(const std::string& kind, const SynthRequest& request, const Json& details) {
  Json json;
  json["schema"] = "cacheready.synth/1";
  json["kind"] = kind;
  json["output"] = request.out;
  json.update(details);
  return {.json = WriteJson(json), .summary = fmt::format("{}: {} made\n", request.out, kind)};
}

Checkpoint OpenSourceOf(const SynthRequest& request) {
  return Checkpoint::Open(ResolveSource(request.source));
}

Outcome MakePlanted(const SynthRequest& request) {
  Json details;
  details["planted"] = Json::array();
  for (const CopiedExperts& copied :
       WritePlanted(OpenSourceOf(request), request.planted, request.out)) {
    Json entry;
    entry["layer"] = copied.mtp ? -1 : copied.layer;
    entry["members"] = copied.members;
    details["planted"].push_back(std::move(entry));
  }
  return Made("planted checkpoint", request, details);
}

Outcome MakeGraded(const SynthRequest& request) {
  const Checkpoint source = OpenSourceOf(request);
  const std::int64_t layers =
      GetInt(source.text_config(), "num_hidden_layers", request.source + "/config.json");
  GradedOptions options;
  options.scales.assign(static_cast<std::size_t>(layers), request.scales);
  options.row_noise = request.planted.row_noise;
  options.seed = request.seed;
  WriteGraded(source, options, request.out);
  return Made("graded checkpoint", request, Json::object());
}

Outcome MakeFused(const SynthRequest& request) {
  FusedTwinOptions options;
  options.dtype = request.dtype == "f32" ? Dtype::kF32 : Dtype::kBF16;
  WriteFusedTwin(OpenSourceOf(request), options, request.out);
  return Made("fused twin", request, Json::object());
}

Outcome MakeShuffled(const SynthRequest& request) {
  WriteShuffled(OpenSourceOf(request), request.shards, request.seed, request.out);
  return Made("shuffled copy", request, Json::object());
}

Outcome MakeSkeleton(const SynthRequest& request) {
  const Json config = request.config.empty()
                          ? Qwen35MoeFp8Config(request.size)
                          : ParseJson(ReadTextFile(request.config), request.config);
  SkeletonOptions options;
  if (!request.source.empty()) options.tokenizer_from = request.source;
  if (request.weights == "normal") options.normal_weights = request.seed;
  WriteSkeleton(config, options, request.out);
  return Made(request.weights == "normal" ? "checkpoint" : "skeleton", request, Json::object());
}

CLI::App* AddKind(CLI::App* synth, Invocation& invocation, const Request& request, const char* name,
                  const char* help, Outcome (*make)(const SynthRequest&)) {
  auto* kind = synth->add_subcommand(name, help);
  kind->add_option("-o,--output", request->out, "new or empty folder")->required();
  kind->callback([&invocation, request, make] {
    invocation.run = [request, make] { return make(*request); };
  });
  return kind;
}

}  // namespace

void AddSynth(CLI::App& app, Invocation& invocation) {
  auto request = std::make_shared<SynthRequest>();
  auto* synth = app.add_subcommand(
      "synth", "Make checkpoints of which the answer is known: for trials, controls, benchmarks");
  synth->require_subcommand(1);

  auto* planted =
      AddKind(synth, invocation, request, "planted",
              "experts copied over others, their router rows a little apart", MakePlanted);
  planted->add_option("SRC", request->source, kSourceHelp)->required();
  planted->add_option("--groups", request->planted.groups, "in each layer");
  planted->add_option("--group-size", request->planted.group_size, "members of each");
  planted->add_option("--row-noise", request->planted.row_noise,
                      "norm of the difference of the router rows over that of a row");
  planted->add_option("--bias-noise", request->planted.bias_noise, "the same for router biases");
  planted->add_option("--seed", request->planted.seed, "of the noise");

  auto* graded =
      AddKind(synth, invocation, request, "graded",
              "experts 2j+1 copied from 2j with weight noise (fused plain layout)", MakeGraded);
  graded->add_option("SRC", request->source, kSourceHelp)->required();
  graded->add_option("--scales", request->scales, "relative noise of pair 0, 1, ...")->required();
  graded->add_option("--row-noise", request->planted.row_noise, "as in planted");
  graded->add_option("--seed", request->seed, "of the noise");

  auto* fused = AddKind(synth, invocation, request, "fused",
                        "the dequantized twin of an FP8 checkpoint, experts fused", MakeFused);
  fused->add_option("SRC", request->source, kSourceHelp)->required();
  fused->add_option("--dtype", request->dtype, "bf16 or f32")
      ->check(CLI::IsMember({"bf16", "f32"}));

  auto* shuffled = AddKind(synth, invocation, request, "shuffled",
                           "the same tensors in other files and another order", MakeShuffled);
  shuffled->add_option("SRC", request->source, kSourceHelp)->required();
  shuffled->add_option("--shards", request->shards, "files");
  shuffled->add_option("--seed", request->seed, "of the order");

  auto* skeleton =
      AddKind(synth, invocation, request, "skeleton",
              "all headers of a published size, the weights a hole in the file", MakeSkeleton);
  auto* size = skeleton->add_option("--size", request->size, "35B-A3B, 122B-A10B or 397B-A17B");
  skeleton->add_option("--config", request->config, "config.json of a Qwen3.5-MoE checkpoint")
      ->excludes(size);
  skeleton->add_option("--tokenizer-from", request->source, "folder whose tokenizer is copied");
  skeleton
      ->add_option("--weights", request->weights,
                   "none, or normal: random ones, the whole checkpoint is written")
      ->check(CLI::IsMember({"none", "normal"}));
  skeleton->add_option("--seed", request->seed, "of the weights");
}

}  // namespace cacheready
