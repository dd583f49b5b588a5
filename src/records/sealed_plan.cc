// SPDX-License-Identifier: Apache-2.0
#include "records/sealed_plan.h"

#include "base/error.h"
#include "base/hash.h"

namespace cacheready {
namespace {

constexpr const char* kSealKey = "sha256";

Json ParsePlanObject(std::string_view text, std::string_view what) {
  Json json = ParseJson(text, what);
  if (!json.is_object()) Fail("{}: is a JSON {}, expected an object", what, json.type_name());
  return json;
}

}  // namespace

std::string SealPlan(std::string_view plan_json) {
  Json json = ParsePlanObject(plan_json, "the plan");
  json.erase(kSealKey);
  json[kSealKey] = Sha256Hex(WriteJson(json));
  return WriteJson(json);
}

Json CheckSealedPlan(std::string_view text, std::string_view what) {
  Json json = ParsePlanObject(text, what);
  if (FindMember(json, kSealKey) == nullptr) {
    Fail("{}: has no key '{}' that would prove its bytes", what, kSealKey);
  }
  if (SealPlan(text) != text) {
    Fail("{}: was changed after it was written: its text does not match its own SHA-256", what);
  }
  json.erase(kSealKey);
  return json;
}

}  // namespace cacheready
