// SPDX-License-Identifier: Apache-2.0
#include "pipeline/verify_command.h"

#include <fmt/format.h>

#include "cacheready/cacheready.h"
#include "checkpoint/checkpoint.h"
#include "pipeline/reading.h"
#include "pipeline/text_table.h"

namespace cacheready {
namespace {

std::string FindingText(const Finding& finding) {
  std::string place = finding.file;
  if (!finding.tensor.empty()) place += ": tensor '" + finding.tensor + "'";
  return fmt::format("  {} at byte {}: {}\n", place, finding.offset_bytes, finding.message);
}

}  // namespace

std::string VerificationText(const Verification& v) {
  FactList facts;
  facts.Add("verdict", v.passed ? "passed" : "FAILED");
  facts.Add("checked against a plan",
            v.checked_against_plan ? "yes" : "no: changed rows were not checked against a plan");
  facts.Add("bytes", fmt::format("{} compared, {} changed",
                                 Grouped(static_cast<std::int64_t>(v.bytes_compared)),
                                 Grouped(static_cast<std::int64_t>(v.bytes_changed))));
  facts.Add("tensors", fmt::format("{}, of these {} changed, in {} rows", Grouped(v.tensors),
                                   v.tensors_changed, v.rows_changed));
  facts.Add("groups with bit-identical rows", std::to_string(v.groups_identical));
  facts.Add("files", std::to_string(v.files.size()));
  std::string text = facts.Text();
  if (v.findings_total > 0) {
    text += fmt::format("\n{} findings, the first {}:\n", v.findings_total, v.findings.size());
  }
  for (const Finding& finding : v.findings) text += FindingText(finding);
  return text;
}

Outcome Verify(const VerifyRequest& request) {
  VerifyOptions options;
  if (!request.plan.empty()) options.plan = request.plan;
  options.hash = request.hash;
  options.io = ChosenReadMode();
  options.max_memory = ChosenMaxMemory();
  const Verification verification =
      VerifyCheckpoint(ResolveSource(request.source), request.out, options);
  return {.passed = verification.passed,
          .json = WriteJson(ToJson(verification)),
          .summary = VerificationText(verification)};
}

}  // namespace cacheready
