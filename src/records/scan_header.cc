// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "base/error.h"
#include "io/mapped_file.h"
#include "io/publish.h"
#include "records/scan_part.h"
#include "records/scan_record.h"

namespace cacheready {
namespace {

constexpr std::string_view kScanSchema = "cacheready.scan/1";
constexpr std::string_view kFile = "scan.json";
constexpr std::int64_t kMostTokens = std::int64_t{1} << 30;  // records count them in 32 bits

Json DocumentsToJson(const std::vector<ScannedDocument>& documents) {
  Json array = Json::array();
  for (const ScannedDocument& document : documents) {
    Json entry;
    entry["sha256"] = document.sha256;
    entry["domain"] = document.domain;
    entry["first_token"] = document.first_token;
    entry["tokens"] = document.tokens;
    array.push_back(std::move(entry));
  }
  return array;
}

// Documents lie one after the other: a gap or an overlap would give tokens to the wrong document.
std::vector<ScannedDocument> DocumentsFromJson(const Json& array, const std::string& what) {
  if (!array.is_array()) Fail("{}: key 'documents' is no array", what);
  std::vector<ScannedDocument> documents;
  std::int64_t next = 0;
  for (const Json& entry : array) {
    const std::string where = fmt::format("{}: document {}", what, documents.size());
    ScannedDocument document;
    document.sha256 = GetString(entry, "sha256", where);
    document.domain = GetString(entry, "domain", where);
    document.first_token = GetInt(entry, "first_token", where);
    document.tokens = GetInt(entry, "tokens", where);
    if (document.first_token != next || document.tokens < 1 ||
        document.tokens > kMostTokens - next) {
      Fail("{} holds tokens {} + {}, expected a start of {}, at least one token and at most {}",
           where, document.first_token, document.tokens, next, kMostTokens);
    }
    next += document.tokens;
    documents.push_back(std::move(document));
  }
  return documents;
}

Json PartToJson(const ScanPart& part) {
  Json json;
  json["number"] = part.number;
  json["of"] = part.of;
  return json;
}

ScanPart PartFromJson(const Json& json, const std::string& what) {
  const ScanPart part{GetInt(json, "number", what), GetInt(json, "of", what)};
  CheckPart(part, what);
  return part;
}

std::vector<std::int64_t> LayersFromJson(const Json& array, std::int64_t layers,
                                         const std::string& what) {
  if (!array.is_array()) Fail("{}: key 'moe_layers' is no array", what);
  std::vector<std::int64_t> result;
  for (const Json& entry : array) {
    if (!entry.is_number_integer()) Fail("{}: key 'moe_layers' holds {}", what, entry.dump());
    const auto layer = entry.get<std::int64_t>();
    if (layer < 0 || layer >= layers || (!result.empty() && layer <= result.back())) {
      Fail("{}: key 'moe_layers' is not ascending within [0, {})", what, layers);
    }
    result.push_back(layer);
  }
  return result;
}

}  // namespace

void WriteScanHeader(const std::filesystem::path& scan, const ScanHeader& header) {
  Json json;
  json["schema"] = std::string(kScanSchema);
  json["tool_version"] = header.tool_version;
  json["key"] = header.key;
  json["family"] = header.family;
  json["layout_sha256"] = header.layout_sha256;
  json["profile"] = header.profile;
  json["numerics_class"] = header.numerics_class;
  json["seed"] = header.seed;
  json["hidden"] = header.hidden;
  json["layers"] = header.layers;
  json["probe_tokens"] = header.probe_tokens;
  json["moe_layers"] = header.moe_layers;
  json["options"] = header.options;
  json["part"] = PartToJson(header.part);
  json["documents"] = DocumentsToJson(header.documents);
  PublishFile(scan / kFile, std::string_view(WriteJson(json)));
}

ScanHeader ReadScanHeader(const std::filesystem::path& scan) {
  const std::filesystem::path path = scan / kFile;
  const std::string what = path.string();
  if (!std::filesystem::exists(path)) {
    Fail("{} is missing: '{}' is no finished scan; run `cacheready scan` first", what,
         scan.string());
  }
  const Json json = ParseJson(ReadTextFile(path), what);
  const std::string schema = GetString(json, "schema", what);
  if (schema != kScanSchema) Fail("{}: schema is '{}', expected '{}'", what, schema, kScanSchema);
  ScanHeader header;
  header.tool_version = GetString(json, "tool_version", what);
  header.key = GetString(json, "key", what);
  header.family = GetString(json, "family", what);
  header.layout_sha256 = GetString(json, "layout_sha256", what);
  header.profile = GetString(json, "profile", what);
  header.numerics_class = GetString(json, "numerics_class", what);
  const Json& seed = GetMember(json, "seed", what);
  if (!seed.is_number_unsigned()) Fail("{}: key 'seed' is {}, no seed", what, seed.dump());
  header.seed = seed.get<std::uint64_t>();
  header.hidden = GetInt(json, "hidden", what);
  header.layers = GetInt(json, "layers", what);
  header.probe_tokens = GetInt(json, "probe_tokens", what);
  header.moe_layers = LayersFromJson(GetMember(json, "moe_layers", what), header.layers, what);
  header.options = GetMember(json, "options", what);
  header.part = PartFromJson(GetMember(json, "part", what), what);
  header.documents = DocumentsFromJson(GetMember(json, "documents", what), what);
  return header;
}

}  // namespace cacheready
