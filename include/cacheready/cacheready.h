// The public interface of CacheReady: one request struct and one function a command. The command
// line is a thin shell over it.
//
// Every function throws cacheready::Error (base class std::runtime_error; the message names file,
// tensor, what was expected and found) when the world is not as it must be, and Interrupted (a kind
// of Error) when SIGINT or SIGTERM stopped it at a layer after InstallInterruptHandler(): the same
// call goes on from there. A check that says no is no error: it is Outcome::passed == false.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cacheready {

struct Outcome {
  bool passed = true;   // false: a check said no (exit code 1)
  std::string json;     // for programs: canonical, with a "schema" field
  std::string summary;  // for people: plain text
};

// SRC everywhere: a folder, a snapshot in the Hugging Face cache, or org/name found there.

struct InspectRequest {
  std::string source;
};
// What the checkpoint is and what would be patched, from headers alone.
Outcome Inspect(const InspectRequest& request);

struct ForwardRequest {
  std::string source;
  std::string ids;      // JSON, .npy, or safetensors with `input_ids`
  std::string profile;  // "" = fp32
  std::string out;      // safetensors, docs/formats/forward.md
  bool dry_run = false;
  std::string numerics = {};  // as in ScanRequest
};
Outcome Forward(const ForwardRequest& request);

struct ScanRequest {
  std::string source;
  std::string calibration;  // JSONL: `text`, `messages` or `ids`; optional `domain`
  std::string out;          // folder
  std::string profile;      // "" = the checkpoint's own
  std::int64_t tokens = 16384;
  std::int64_t document_tokens = 512;  // longer ones are cut: evidence needs many documents
  std::uint64_t seed = 0;
  double tolerance = 1.0;
  std::uint64_t memory_bytes = 0;  // for expert outputs held at once; 0: a share of the limit
  bool fresh = false;              // discard another scan in the folder
  bool dry_run = false;
  // "3/16": a part of the documents, into a folder of its own inside `out`; "auto": which one is
  // told by the launcher's variables (docs/clusters.md); "" = all, into `out` itself.
  std::string part = {};
  // Arithmetic of the products of experts and mixers: "" or "fp32", "bf16", "auto", or the name of
  // a class (docs/determinism.md). Part of what a scan and its plan are.
  std::string numerics = {};
};
Outcome Scan(const ScanRequest& request);

struct MergeRequest {
  std::vector<std::string> parts;  // folders, in any order
  std::string out;                 // folder
  bool fresh = false;              // discard another scan in the folder
  bool dry_run = false;            // checks that the parts belong together
};
// The scan of the whole from those of all parts: the bytes that an unsplit scan writes.
Outcome Merge(const MergeRequest& request);

struct PlanRequest {
  std::string scan;
  std::string out;  // plan.json
  double tolerance = 1.0;
  double budget = 0.5;
  std::int64_t max_group = 0;  // 0 = the router's top k
  std::uint64_t seed = 0;
  std::string method = "outputs";  // or "router-correlation", the control
  std::string mtp = "leave";
  bool dry_run = false;
};
Outcome MakePlan(const PlanRequest& request);

struct CheckRequest {
  std::string source;
  std::string plan;
  std::string text;  // JSONL that the scan has not seen; seen documents are left out
  std::string out;   // the plan that passed; "" = not written
  std::int64_t tokens = 4096;
  // Documents are cut to this many tokens; 0 = so that about 32 take part, since limits are taken
  // over documents.
  std::int64_t document_tokens = 0;
  std::uint64_t seed = 0;
  bool dry_run = false;  // runs the check, writes nothing
};
Outcome Check(const CheckRequest& request);

struct ApplyRequest {
  std::string source;
  std::string change;  // plan.json or x.delta.safetensors
  std::string out;     // folder; or the delta file, with `delta`
  std::string link = "auto";
  bool revert = false;
  bool delta = false;
  bool force = false;
  bool include_outside_index = false;
  bool dry_run = false;
};
Outcome Apply(const ApplyRequest& request);

struct VerifyRequest {
  std::string source;
  std::string out;
  std::string plan;  // "" = the one inside OUT
  bool hash = true;
};
Outcome Verify(const VerifyRequest& request);

struct EvaluateRequest {
  std::string source;
  std::string out;                 // "" = the source alone
  std::string text;                // JSONL
  std::string profile;             // "" = the checkpoint's own; "fp32" = none beside the base
  std::int64_t max_tokens = 2048;  // of a document
  std::int64_t tokens = 0;         // in all, sampled by domain; 0 = every document
  std::uint64_t seed = 0;
  double margin = 0.005;      // nats per token, declared before
  std::string numerics = {};  // as in ScanRequest
};
Outcome Evaluate(const EvaluateRequest& request);

struct ReportRequest {
  std::string run;  // folder with plan.json, check.json, verification.json ...
  std::string out;  // folder for report.md and report.json; "" = the run folder
  bool dry_run = false;
};
Outcome Report(const ReportRequest& request);

struct CanonicalizeRequest {
  std::string source;
  std::string out;          // the new checkpoint; not made if nothing is to be tied
  std::string calibration;  // JSONL
  std::string evaluation;   // JSONL; "" = a quarter of the calibration documents, held out
  std::string run;          // folder of everything measured; "" = OUT.run
  std::string profile;
  std::int64_t tokens = 16384;
  std::int64_t document_tokens = 512;
  std::int64_t check_tokens = 4096;
  std::int64_t evaluation_tokens = 4096;  // of the quality measurement; 0 = left out
  std::uint64_t seed = 0;
  double tolerance = 1.0;
  double budget = 0.5;
  double margin = 0.005;
  std::int64_t max_group = 0;
  std::uint64_t memory_bytes = 0;  // as in ScanRequest
  std::string link = "auto";
  bool force = false;
  bool fresh = false;
  bool dry_run = false;
  std::string command;        // as typed, for the report
  std::string numerics = {};  // of the scan, as in ScanRequest; check and eval compute in fp32
};
Outcome Canonicalize(const CanonicalizeRequest& request);

// Process-wide settings.
void SetThreads(int threads);
// The most memory that the process may use, mapped pages included; 0: 60 % of RAM, or of the limit
// of its control group, whichever is smaller. A command that cannot keep to it fails, naming the
// least.
void SetMaxMemory(std::uint64_t bytes);
// How weights are read, and files copied and compared: "auto", "uring", "direct", "buffered",
// "mmap" (docs/performance.md).
void SetReading(const std::string& way);
const char* Version();

}  // namespace cacheready
