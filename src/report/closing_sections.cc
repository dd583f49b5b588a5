// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "report/markdown.h"
#include "report/sections.h"

namespace cacheready {

std::string MeaningSection() {
  return R"(## What tying does and does not do

- Flips among equivalent experts do no harm to the output: either expert computes the same within the noise of the profile. The divergence under the profile is the same tied or not.
- What tying buys is repeatable routing: routes can be replayed, traces of two runs compared, expert caches see fewer distinct experts, a batch touches fewer of them.
- Members of a group have bit-identical router rows. Their logits are identical in engines whose gate GEMM treats columns alike; which member is taken at the boundary is then the engine's tie rule (the lowest index in the default CUDA kernels of vLLM and SGLang; unspecified where `torch.topk` decides).
- No member replaces the others: members that score high are selected together, as before.
- It does not change prefix caching: cached blocks depend on the tokens, not on the router, and no cache hit rate is claimed.
- Without any change of weights: computing router logits in fp32 and a fixed order of reductions (batch-invariant kernels) reduce flips of every kind, not only those inside groups.

)";
}

std::string ReproductionSection(const ReportFindings& f) {
  MarkdownTable table({"", ""});
  const auto add = [&](const char* name, const std::string& value) {
    table.AddRow({name, value.empty() ? std::string("not recorded") : CodeSpan(value)});
  };
  add("command", f.command);
  add("source", f.source);
  add("output", f.output);
  add("seed", f.seed ? std::to_string(*f.seed) : "");
  add("program version", f.tool_version);
  add("family", f.family);
  add("profile", f.profile);
  add("numerics class", f.numerics_class);
  add("tolerance", f.tolerance ? Figure(f.tolerance) : "");
  add("budget", f.budget ? Figure(f.budget) : "");
  add("scan key", f.scan_key);
  add("layout SHA-256", f.layout_sha256);
  return "## Reproducing this\n\n" + table.Text() +
         "The same source, text, options and numerics class give the same plan, byte for byte.\n\n";
}

std::string LimitSection(const ReportFindings& f) {
  std::string text = "## Limits\n\n";
  if (f.text.domains.empty()) {
    text += "- Domains of the calibration text: not recorded.\n";
  } else {
    text += "- Measured on text of these domains only:";
    const char* separator = " ";
    for (const auto& [domain, tokens] : f.text.domains) {
      text +=
          fmt::format("{}{} ({})", separator, domain.empty() ? "unnamed" : EscapeMarkdown(domain),
                      Plural(tokens, "token", "tokens"));
      separator = ", ";
    }
    text += ".\n";
  }
  text += f.text.longest_context ? fmt::format("- Longest context: {}.\n",
                                               Plural(*f.text.longest_context, "token", "tokens"))
                                 : std::string("- Longest context: not recorded.\n");
  text += "- Text only: image tokens not measured.\n";
  text +=
      "- The verdict holds for the profile named above; another precision or engine has its "
      "own noise and its own thresholds.\n";
  text += "- Serving speed is not part of this report.\n";
  return text + "\n";
}

}  // namespace cacheready
