// SPDX-License-Identifier: Apache-2.0
#include "records/plan.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "io/mapped_file.h"

namespace cacheready {
namespace {

constexpr std::string_view kPlanSchema = "cacheready.plan/1";

std::vector<std::byte> BytesFromBase64(const std::string& text, std::string_view what) {
  const std::string decoded = FromBase64(text, what);
  const auto bytes = std::as_bytes(std::span(decoded));
  return {bytes.begin(), bytes.end()};
}

const Json& GetArray(const Json& object, std::string_view key, std::string_view what) {
  const Json& array = GetMember(object, key, what);
  if (!array.is_array()) Fail("{}: key '{}' is no array", what, key);
  return array;
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

Json TensorToJson(const PlannedTensor& tensor) {
  Json json;
  json["tensor"] = tensor.tensor;
  json["dtype"] = std::string(DtypeName(tensor.dtype));
  json["row"] = Base64(tensor.row);
  json["replaced_sha256"] = tensor.replaced_sha256;
  return json;
}

PlannedTensor TensorFromJson(const Json& json, std::size_t members, const std::string& what) {
  PlannedTensor tensor;
  tensor.tensor = GetString(json, "tensor", what);
  if (tensor.tensor.empty()) Fail("{}: key 'tensor' is empty", what);
  const std::string where = fmt::format("{}: tensor '{}'", what, tensor.tensor);
  const std::string dtype = GetString(json, "dtype", where);
  const std::optional<Dtype> found = FindDtype(dtype);
  if (!found) Fail("{}: dtype '{}' is not known", where, dtype);
  tensor.dtype = *found;
  tensor.row = BytesFromBase64(GetString(json, "row", where), where);
  const auto element_bytes = static_cast<std::size_t>(DtypeBits(tensor.dtype)) / 8;
  if (tensor.row.empty() || element_bytes == 0 || tensor.row.size() % element_bytes != 0) {
    Fail("{}: a row of {} bytes is no row of {}", where, tensor.row.size(), dtype);
  }
  for (const Json& hash : GetArray(json, "replaced_sha256", where)) {
    if (!hash.is_string() || !IsSha256(hash.get<std::string>())) {
      Fail("{}: key 'replaced_sha256' holds {}, expected 64 lower-case hex digits", where,
           hash.dump());
    }
    tensor.replaced_sha256.push_back(hash.get<std::string>());
  }
  if (tensor.replaced_sha256.size() != members) {
    Fail("{}: has {} hashes of replaced rows for {} members", where, tensor.replaced_sha256.size(),
         members);
  }
  return tensor;
}

Json GroupToJson(const PlannedGroup& group) {
  Json json;
  json["layer"] = group.layer;
  json["members"] = group.members;
  json["rule"] = group.rule;
  Json tensors = Json::array();
  for (const PlannedTensor& tensor : group.tensors) tensors.push_back(TensorToJson(tensor));
  json["tensors"] = std::move(tensors);
  json["numbers"] = group.numbers.is_null() ? Json::object() : group.numbers;
  return json;
}

std::vector<std::int32_t> MembersFromJson(const Json& array, const std::string& what) {
  std::vector<std::int32_t> members;
  for (const Json& member : array) {
    const bool integer = member.is_number_integer();
    const std::int64_t value = integer ? member.get<std::int64_t>() : -1;
    if (value < 0 || value > std::numeric_limits<std::int32_t>::max()) {
      Fail("{}: key 'members' holds {}, expected an expert number", what, member.dump());
    }
    members.push_back(static_cast<std::int32_t>(value));
  }
  const bool ascending =
      std::adjacent_find(members.begin(), members.end(), std::greater_equal<>()) == members.end();
  if (members.size() < 2 || !ascending) {
    Fail("{}: key 'members' is not at least two experts, ascending", what);
  }
  return members;
}

PlannedGroup GroupFromJson(const Json& json, const std::string& what) {
  PlannedGroup group;
  group.layer = GetInt(json, "layer", what);
  group.members = MembersFromJson(GetArray(json, "members", what), what);
  group.rule = GetString(json, "rule", what);
  for (const Json& tensor : GetArray(json, "tensors", what)) {
    group.tensors.push_back(TensorFromJson(tensor, group.members.size(), what));
  }
  if (group.tensors.empty()) Fail("{}: key 'tensors' is empty", what);
  group.numbers = GetMember(json, "numbers", what);
  return group;
}

void CheckOrder(const std::vector<PlannedGroup>& groups, std::string_view what) {
  for (std::size_t g = 1; g < groups.size(); ++g) {
    const auto place = [&](std::size_t i) {
      return std::pair(groups[i].layer, groups[i].members.front());
    };
    if (place(g - 1) >= place(g)) {
      Fail("{}: group {} is not in ascending order of (layer, first member)", what, g);
    }
  }
}

}  // namespace

Json ToJson(const Plan& plan) {
  const auto array = [](const Json& value) { return value.is_null() ? Json::array() : value; };
  const auto object = [](const Json& value) { return value.is_null() ? Json::object() : value; };
  Json json;
  json["schema"] = std::string(kPlanSchema);
  json["tool_version"] = plan.tool_version;
  json["family"] = plan.family;
  json["profile"] = plan.profile;
  json["numerics_class"] = plan.numerics_class;
  json["scan_key"] = plan.scan_key;
  json["layout_sha256"] = plan.layout_sha256;
  json["tolerance"] = plan.tolerance;
  json["budget"] = plan.budget;
  json["text"] = object(plan.text);
  Json groups = Json::array();
  for (const PlannedGroup& group : plan.groups) groups.push_back(GroupToJson(group));
  json["groups"] = std::move(groups);
  json["untied"] = array(plan.untied);
  json["layers"] = array(plan.layers);
  json["controls"] = object(plan.controls);
  return json;
}

Plan PlanFromJson(const Json& json, std::string_view what) {
  const std::string schema = GetString(json, "schema", what);
  if (schema != kPlanSchema) Fail("{}: schema is '{}', expected '{}'", what, schema, kPlanSchema);
  Plan plan;
  plan.tool_version = GetString(json, "tool_version", what);
  plan.family = GetString(json, "family", what);
  plan.profile = GetString(json, "profile", what);
  plan.numerics_class = GetString(json, "numerics_class", what);
  plan.scan_key = GetString(json, "scan_key", what);
  plan.layout_sha256 = GetString(json, "layout_sha256", what);
  plan.tolerance = GetDouble(json, "tolerance", what);
  plan.budget = GetDouble(json, "budget", what);
  plan.text = GetMember(json, "text", what);
  for (const Json& group : GetArray(json, "groups", what)) {
    plan.groups.push_back(
        GroupFromJson(group, fmt::format("{}: group {}", what, plan.groups.size())));
  }
  CheckOrder(plan.groups, what);
  plan.untied = GetArray(json, "untied", what);
  plan.layers = GetArray(json, "layers", what);
  plan.controls = GetMember(json, "controls", what);
  RowPatches(plan);  // Fails on a row named twice
  return plan;
}

Plan ReadPlan(const std::string& path) {
  return PlanFromJson(ParseJson(ReadTextFile(path), path), path);
}

std::vector<RowPatch> RowPatches(const Plan& plan) {
  std::vector<RowPatch> patches;
  for (const PlannedGroup& group : plan.groups) {
    for (const PlannedTensor& tensor : group.tensors) {
      for (std::size_t m = 0; m < group.members.size(); ++m) {
        patches.push_back(
            {tensor.tensor, group.members[m], tensor.row, tensor.replaced_sha256[m], tensor.dtype});
      }
    }
  }
  const auto place = [](const RowPatch& patch) { return std::pair(patch.tensor, patch.row); };
  std::sort(patches.begin(), patches.end(),
            [&](const RowPatch& a, const RowPatch& b) { return place(a) < place(b); });
  for (std::size_t p = 1; p < patches.size(); ++p) {
    if (place(patches[p - 1]) == place(patches[p])) {
      Fail("the plan names row {} of tensor '{}' twice", patches[p].row, patches[p].tensor);
    }
  }
  return patches;
}

}  // namespace cacheready
