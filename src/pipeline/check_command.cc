// SPDX-License-Identifier: Apache-2.0
#include "pipeline/check_command.h"

#include <algorithm>

#include "base/console.h"
#include "base/error.h"
#include "pipeline/files.h"
#include "pipeline/reading.h"
#include "pipeline/text_table.h"

namespace cacheready {
namespace {

constexpr std::int64_t kCheckDocuments = 32;
constexpr std::int64_t kLeastCut = 128;

void AddRun(const CheckedRun& run, const std::string& verdict, TextTable* table) {
  table->AddRow({run.name, std::to_string(run.groups), NatsText(run.kl.mean),
                 NatsText(run.kl.upper), PercentText(run.flips), PercentText(run.same_top),
                 verdict});
}

std::string VerdictOf(const CheckedRun& run) { return run.accepted ? "accepted" : "refused"; }

}  // namespace

std::vector<Document> ChooseCheckText(std::vector<Document> documents, const Plan& plan,
                                      const CheckRequest& request) {
  const std::size_t all = documents.size();
  const Json* scanned = FindMember(plan.text, "scanned");
  if (scanned != nullptr) documents = LeaveOutScanned(std::move(documents), *scanned);
  if (documents.size() < all) {
    Note(fmt::format("check: {} of {} documents were scanned and are left out",
                     all - documents.size(), all));
  }
  const std::int64_t cut = request.document_tokens > 0
                               ? request.document_tokens
                               : std::max(kLeastCut, request.tokens / kCheckDocuments);
  documents = CutDocuments(std::move(documents), cut);
  if (documents.empty()) {
    Fail(
        "{}: every document was scanned already or is too short; a check needs text that the scan "
        "has not seen",
        request.text);
  }
  return SampleDocuments(std::move(documents), request.tokens, request.seed);
}

CheckResult CheckOnText(const Source& source, const Plan& plan,
                        const std::vector<Document>& documents, std::uint64_t seed) {
  CheckOptions options;
  options.seed = seed;
  ManageReading({source.model.get()},
                EvaluationMemory(*source.model, TokensIn(documents), kMostVariantsOfCheck));
  CheckResult result = CheckPlan(*source.model, source.checkpoint, plan, documents, options);
  TellReading({source.model.get()});
  return result;
}

std::string CheckText(const CheckResult& result) {
  TextTable table({"run", "groups", "KL(base||run)", "upper limit", "flips", "same top", ""});
  AddRun(result.profile, "", &table);
  for (const CheckedRun& prefix : result.prefixes) AddRun(prefix, VerdictOf(prefix), &table);
  if (result.chosen.groups > 0) {
    CheckedRun chosen = result.chosen;
    chosen.name = "chosen";
    AddRun(chosen, VerdictOf(chosen), &table);
  }
  return table.Text() +
         fmt::format(
             "\nnats per token, on {} tokens of {} documents that the scan has not seen; accepted "
             "up to {}\nflips under {}: {} before, {} after tying (of those before: {} within a "
             "group, {} across, {} of single experts)\n",
             result.tokens, result.documents, NatsText(result.limit), result.options.profile,
             PercentText(result.before.share()), PercentText(result.after.share()),
             result.before.within, result.before.across, result.before.singleton);
}

Outcome Check(const CheckRequest& request) {
  if (!request.out.empty() && !request.dry_run) RequireWritablePlace(request.out);
  const auto source = OpenSource(request.source);
  const Plan plan = ReadPlan(request.plan);
  const std::vector<Document> documents =
      ChooseCheckText(ReadText(*source, {.path = request.text}), plan, request);
  const CheckResult result = CheckOnText(*source, plan, documents, request.seed);
  if (!request.out.empty() && !request.dry_run) WriteJsonFile(request.out, ToJson(result.plan));
  return {
      .passed = result.accepted, .json = WriteJson(ToJson(result)), .summary = CheckText(result)};
}

}  // namespace cacheready
