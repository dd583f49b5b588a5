// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <numeric>
#include <string>

#include "base/json.h"
#include "io/mapped_file.h"
#include "measure/eval.h"
#include "text/tokenizer.h"

namespace cacheready {
namespace {

const std::filesystem::path kRepository = CACHEREADY_SOURCE_DIR;

Tokenizer TokenizerOf(const std::filesystem::path& model) {
  const std::string path = (model / "tokenizer.json").string();
  return Tokenizer::Parse(ReadTextFile(path), path);
}

// The mean NLL of every evaluation document, as transformers computed it.
void ExpectGoldenNll(const std::string& name) {
  const std::string golden_path =
      (kRepository / "goldens" / name / "perplexity_golden.json").string();
  const Json golden = ParseJson(ReadTextFile(golden_path), golden_path);
  const Checkpoint checkpoint = Checkpoint::Open(kRepository / "models" / name);
  const Tokenizer tokenizer = TokenizerOf(kRepository / "models" / name);
  const std::string text = (kRepository / "text" / "evaluation.jsonl").string();
  const std::vector<Document> documents = ParseDocuments(
      ReadTextFile(text), text, &tokenizer, GetInt(golden, "max_tokens", golden_path), 64);

  const Variant base{.name = "base", .arithmetic = Fp32Arithmetic()};
  const Evaluation evaluation =
      Evaluate(*DescribeModel(checkpoint), documents, std::span(&base, 1));
  EXPECT_EQ(evaluation.scored(), GetInt(golden, "tokens", golden_path));
  const std::vector<double>& nll = evaluation.variants[0].scores.nll;
  const double mean =
      std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
  EXPECT_NEAR(mean, GetDouble(golden, "mean_nll", golden_path), 1e-4);
  std::printf("%s: mean NLL %.9f\n", name.c_str(), mean);
}

TEST(PerplexityGolden, ReferenceFp8HasTheNllOfTransformers) { ExpectGoldenNll("reference-fp8"); }

TEST(PerplexityGolden, UpcycledFp8HasTheNllOfTransformers) { ExpectGoldenNll("upcycled-fp8"); }

}  // namespace
}  // namespace cacheready
