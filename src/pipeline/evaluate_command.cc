// SPDX-License-Identifier: Apache-2.0
#include "pipeline/evaluate_command.h"

#include "base/error.h"
#include "pipeline/reading.h"
#include "pipeline/text_table.h"

namespace cacheready {
namespace {

void RequireSameShape(const ModelInfo& base, const ModelInfo& other, const std::string& out) {
  if (base.family == other.family && base.layers == other.layers && base.vocab == other.vocab &&
      base.experts == other.experts && base.top_k == other.top_k) {
    return;
  }
  Fail(
      "{}: is {} with {} layers, {} experts and {} ids, and the source is {} with {}, {} and {}; "
      "only two checkpoints of one model can be compared",
      out, other.family, other.layers, other.experts, other.vocab, base.family, base.layers,
      base.experts, base.vocab);
}

std::vector<Variant> VariantsOf(const Source& source, const Source* out,
                                const EvaluateRequest& request) {
  const Arithmetic exact = Fp32Arithmetic(ParseNumerics(request.numerics));
  std::vector<Variant> variants = {{.name = "base", .arithmetic = exact}};
  const Profile& profile = ChooseProfile(request.profile, source.model->info().expert_format);
  if (profile.name != "fp32") {
    variants.push_back({.name = fmt::format("base under {}", profile.name),
                        .arithmetic = {.profile = &profile, .numerics = exact.numerics}});
  }
  if (out != nullptr) {
    variants.push_back({.name = "new", .arithmetic = exact, .model = out->model.get()});
  }
  return variants;
}

std::string EstimateText(const Json* estimate) {
  if (estimate == nullptr) return "-";
  return fmt::format("{:.4g} ({:.3g} to {:.3g})", GetDouble(*estimate, "mean", "eval"),
                     GetDouble(*estimate, "low", "eval"), GetDouble(*estimate, "high", "eval"));
}

}  // namespace

Json EvaluateOnText(const Source& source, const Source* out, std::vector<Document> documents,
                    const EvaluateRequest& request) {
  if (out != nullptr) RequireSameShape(source.model->info(), out->model->info(), request.out);
  if (request.tokens > 0) {
    documents = SampleDocuments(std::move(documents), request.tokens, request.seed);
  }
  const std::vector<Variant> variants = VariantsOf(source, out, request);
  const Model* other = out != nullptr ? out->model.get() : nullptr;
  ManageReading({source.model.get(), other},
                EvaluationMemory(*source.model, TokensIn(documents), variants.size()));
  const Evaluation evaluation = Evaluate(*source.model, documents, variants);
  TellReading({source.model.get(), other});
  EvaluationJsonOptions options;
  options.bootstrap.seed = request.seed;
  options.margin = request.margin;
  Json json = ToJson(evaluation, options);
  json["numerics_class"] = NumericsClassName(variants.front().arithmetic.numerics);
  return json;
}

std::string EvaluationText(const Json& evaluation) {
  const Json& base = GetMember(evaluation, "base", "eval");
  FactList facts;
  facts.Add("numerics class", GetString(evaluation, "numerics_class", "eval"));
  facts.Add("tokens", Grouped(GetInt(base, "tokens", "eval")));
  facts.Add("mean NLL", fmt::format("{:.6f} nats per token", GetDouble(base, "mean_nll", "eval")));
  facts.Add("perplexity", fmt::format("{:.4f}", GetDouble(base, "ppl", "eval")));
  TextTable table({"run", "KL(base||run)", "NLL difference", "flips", "same top"});
  for (const Json& variant : GetMember(evaluation, "variants", "eval")) {
    const Json* flips = FindMember(variant, "flips");
    const Json* same_top = FindMember(variant, "same_top");
    table.AddRow({GetString(variant, "name", "eval"), EstimateText(FindMember(variant, "kl")),
                  EstimateText(FindMember(variant, "nll_difference")),
                  flips != nullptr ? PercentText(flips->get<double>()) : "-",
                  same_top != nullptr ? PercentText(same_top->get<double>()) : "-"});
  }
  std::string text = facts.Text() + "\n" + table.Text();
  const std::string verdict = GetString(evaluation, "verdict", "eval", "");
  if (!verdict.empty()) text += "\nverdict: " + verdict + "\n";
  return text;
}

Outcome Evaluate(const EvaluateRequest& request) {
  const auto source = OpenSource(request.source);
  const auto out = request.out.empty() ? nullptr : OpenSource(request.out);
  const Json json = EvaluateOnText(
      *source, out.get(),
      ReadText(*source, {.path = request.text, .max_tokens = request.max_tokens, .min_tokens = 2}),
      request);
  return {.json = WriteJson(json), .summary = EvaluationText(json)};
}

}  // namespace cacheready
