// A check as docs/formats/check.md describes it.
// SPDX-License-Identifier: Apache-2.0
#include "measure/check.h"

namespace cacheready {
namespace {

Json RunJson(const CheckedRun& run) {
  Json json;
  json["name"] = run.name;
  json["groups"] = run.groups;
  json["kl"] = ToJson(run.kl);
  json["nll_difference"] = ToJson(run.nll_difference);
  json["flips"] = run.flips;
  json["same_top"] = run.same_top;
  json["accepted"] = run.accepted;
  return json;
}

// Kinds as shares of the flips.
Json FlipsJson(const SelectionFlips& flips) {
  const auto share = [&](std::int64_t part) {
    return flips.total == 0 ? Json(nullptr)
                            : Json(static_cast<double>(part) / static_cast<double>(flips.total));
  };
  Json json;
  json["flips"] = flips.share();
  json["within"] = share(flips.within);
  json["across"] = share(flips.across);
  json["singleton"] = share(flips.singleton);
  return json;
}

}  // namespace

Json ToJson(const CheckResult& result) {
  Json json;
  json["schema"] = "cacheready.check/1";
  json["accepted"] = result.accepted;
  json["limit"] = result.limit;
  json["kl_share"] = result.options.kl_share;
  json["seed"] = result.options.seed;
  json["bootstrap_draws"] = result.options.draws;
  json["tokens"] = result.tokens;
  json["documents"] = result.documents;
  json["effective_documents"] = result.effective_documents;
  json["indicative"] = result.effective_documents < kMinEffectiveDocuments;
  json["profile"] = RunJson(result.profile);
  json["profile"].erase("accepted");
  json["prefixes"] = Json::array();
  for (const CheckedRun& prefix : result.prefixes) json["prefixes"].push_back(RunJson(prefix));
  json["chosen"] = result.chosen.groups == 0 ? Json(nullptr) : RunJson(result.chosen);
  return json;
}

Json StabilityJson(const CheckResult& result) {
  Json profile;
  profile["name"] = result.options.profile;
  profile["before"] = FlipsJson(result.before);
  profile["after"] = FlipsJson(result.after);
  Json json;
  json["schema"] = "cacheready.stability/1";
  json["profiles"] = Json::array({std::move(profile)});
  return json;
}

}  // namespace cacheready
