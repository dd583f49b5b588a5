// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "report/markdown.h"
#include "report/sections.h"

namespace cacheready {
namespace {

std::string Section(const char* title, const std::string& body) {
  return fmt::format("## {}\n\n{}", title, body);
}

std::string NotMeasured(const char* title) {
  return Section(title, std::string(kNotMeasured) + "\n\n");
}

std::string IntervalText(const ReportedEstimate& estimate) {
  if (!estimate.low || !estimate.high) return "–";
  return fmt::format("{} … {}", Figure(estimate.low), Figure(estimate.high));
}

std::string VerdictWord(const std::optional<bool>& accepted) {
  if (!accepted) return "–";
  return *accepted ? "accepted" : "refused";
}

void AddCheckRow(const std::string& name, const ReportedVariant& variant, MarkdownTable* table) {
  table->AddRow({name, Count(variant.groups), Figure(variant.kl.mean), IntervalText(variant.kl),
                 Figure(variant.kl.upper), Share(variant.flips), VerdictWord(variant.accepted)});
}

}  // namespace

std::string CheckSection(const ReportFindings& f) {
  const char* title = "End-to-end check";
  if (!f.check) return NotMeasured(title);
  MarkdownTable table({"run", "groups", "KL(base‖run), nats per token", "95 % interval",
                       "upper limit", "flips against base", "verdict"});
  AddCheckRow(fmt::format("original under {}",
                          f.profile.empty() ? std::string("its profile") : CodeSpan(f.profile)),
              f.check->profile, &table);
  for (const ReportedVariant& prefix : f.check->prefixes) {
    AddCheckRow(EscapeMarkdown(prefix.name), prefix, &table);
  }
  if (f.check->chosen) AddCheckRow("**chosen**", *f.check->chosen, &table);
  std::string text = table.Text();
  if (f.check->limit) {
    text += fmt::format("Accepted if the upper 95 % limit by document is at most {}. ",
                        Figure(f.check->limit));
  }
  if (f.check->tokens && f.check->documents) {
    text += fmt::format("Measured on {} in {} that the scan has not seen.",
                        Plural(*f.check->tokens, "token", "tokens"),
                        Plural(*f.check->documents, "document", "documents"));
  }
  return Section(title, text + "\n\n");
}

std::string QualitySection(const ReportFindings& f) {
  const char* title = "Quality on held-out text";
  if (f.evaluated.empty()) return NotMeasured(title);
  MarkdownTable table({"run", "KL(base‖run)", "95 % interval", "NLL difference", "95 % interval",
                       "same top token"});
  for (const ReportedVariant& variant : f.evaluated) {
    table.AddRow({EscapeMarkdown(variant.name), Figure(variant.kl.mean), IntervalText(variant.kl),
                  Figure(variant.nll_difference.mean), IntervalText(variant.nll_difference),
                  Share(variant.same_top)});
  }
  std::string text = table.Text();
  if (f.quality_verdict) {
    text += fmt::format("Verdict: {}.\n\n", EscapeMarkdown(*f.quality_verdict));
  }
  return Section(title, text);
}

std::string RoutingSection(const ReportFindings& f) {
  const char* title = "Routing";
  if (f.routing.empty()) return NotMeasured(title);
  MarkdownTable table({"served as", "flips before", "of these within a group", "across",
                       "singleton", "flips after"});
  for (const ReportedRouting& routing : f.routing) {
    table.AddRow({CodeSpan(routing.name), Share(routing.flips_before), Share(routing.within),
                  Share(routing.across), Share(routing.singleton), Share(routing.flips_after)});
  }
  return Section(title, table.Text() +
                            "A flip is a token-layer whose selected experts differ between the "
                            "two runs compared.\n\n");
}

std::string ProofSection(const ReportFindings& f) {
  const char* title = "Proof from the bytes";
  if (!f.proof) return NotMeasured(title);
  const ReportedProof& proof = *f.proof;
  MarkdownTable numbers({"", ""});
  numbers.AddRow({"verdict", proof.passed ? "passed" : "**failed**"});
  numbers.AddRow({"changed rows checked against the plan", proof.against_plan ? "yes" : "no"});
  numbers.AddRow({"bytes compared", Count(proof.bytes_compared)});
  numbers.AddRow({"bytes changed", Count(proof.bytes_changed)});
  numbers.AddRow({"tensors, of these changed",
                  fmt::format("{}, {}", Count(proof.tensors), Count(proof.tensors_changed))});
  numbers.AddRow({"rows changed", Count(proof.rows_changed)});
  numbers.AddRow({"groups with bit-identical rows", Count(proof.groups_identical)});
  std::string text = numbers.Text();
  if (!proof.findings.empty()) {
    MarkdownTable findings({"where", "what"});
    for (const auto& [place, message] : proof.findings) {
      findings.AddRow({CodeSpan(place), EscapeMarkdown(message)});
    }
    text += findings.Text();
  }
  if (!proof.changed_files.empty()) {
    MarkdownTable files({"changed file", "SHA-256 before", "SHA-256 after"});
    for (const ReportedProof::File& file : proof.changed_files) {
      files.AddRow({CodeSpan(file.path), CodeSpan(file.sha256_source), CodeSpan(file.sha256_out)});
    }
    text += files.Text();
  }
  if (!proof.left_out.empty()) {
    text += "Files of the source that were left out:";
    for (const std::string& path : proof.left_out) text += ' ' + CodeSpan(path);
    text += "\n\n";
  }
  return Section(title, text);
}

}  // namespace cacheready
