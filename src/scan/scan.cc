// SPDX-License-Identifier: Apache-2.0
#include "scan/scan.h"

#include <algorithm>
#include <array>
#include <future>
#include <optional>
#include <utility>

#include "base/console.h"
#include "base/error.h"
#include "base/phases.h"
#include "io/publish.h"
#include "records/scan_part.h"
#include "scan/journal.h"
#include "scan/layer_scan.h"
#include "scan/scan_folder.h"
#include "scan/scan_key.h"
#include "scan/scan_text.h"
#include "stream/layer_progress.h"
#include "stream/stream.h"

namespace cacheready {
namespace {

// What a scan measures on an expert's output at full weight says nothing of an expert that gets its
// input times the weight.
void RefuseWeightedInputs(const Model& model) {
  const std::int64_t layer = model.info().moe_layers.front().layer;
  if (!model.OpenLayer(layer)->moe()->router.weights_on_input) return;
  Fail(
      "scan: the router weights of this {} checkpoint (layer {}) multiply the experts' inputs, so "
      "outputs at other weights do not follow from the measured ones; forward, stability and eval "
      "work on it",
      model.info().family, layer);
}

ScanOptions Resolve(const Model& model, ScanOptions options) {
  if (options.memory_bytes == 0) options.memory_bytes = PlanOf(model.store()).output_bytes;
  options.profile = ChooseProfile(options.profile, model.info().expert_format).name;
  CheckPart(options.part, "scan");
  const bool counts_valid = options.sample_per_side > 0 && options.neighbour_tokens > 0 &&
                            options.pairs_per_expert >= 0 && options.shared_sample > 0 &&
                            options.decoys_per_layer >= 0;
  if (!counts_valid) Fail("scan: sample sizes must be positive");
  if (!(options.tolerance > 0)) {
    Fail("scan: --tolerance is {}, expected more than 0", options.tolerance);
  }
  if (model.info().moe_layers.empty()) {
    Fail("scan: this {} checkpoint has no routed layers: there is nothing to compare",
         model.info().family);
  }
  RefuseWeightedInputs(model);
  return options;
}

// Parts share a key, but not their records and hidden states.
std::string JournalKey(const ScanHeader& header) {
  return header.part == ScanPart{} ? header.key : header.key + " " + PartText(header.part);
}

// Writes a layer's results while the next layer runs. What is committed, in which order, is as if
// each layer were waited for.
class LayerWriter {
 public:
  LayerWriter(ScanJournal& journal, const std::filesystem::path& out)
      : journal_(journal), out_(out) {}

  void Start(std::int64_t layer, std::optional<LayerRecord> record, std::vector<std::byte> state) {
    layer_ = layer;
    writing_ = std::async(std::launch::async,
                          [this, layer, record = std::move(record), state = std::move(state)] {
                            if (record) WriteLayerRecord(out_, *record);
                            journal_.Commit(layer, record.has_value(), state);
                          });
  }

  // Returns, when it is on disk, the layer that was being written; -1 if there was none. Fails as
  // writing did.
  std::int64_t Finish() {
    if (!writing_.valid()) return -1;
    const Phase phase("waiting for writes");
    writing_.get();
    return layer_;
  }

 private:
  ScanJournal& journal_;
  const std::filesystem::path& out_;
  std::int64_t layer_ = -1;
  std::future<void> writing_;
};

struct LayerLoop {
  const Checkpoint& checkpoint;
  const Model& model;
  const ScanText& text;
  const ScanOptions& options;
  const std::filesystem::path& out;

  void Run(ScanJournal& journal) const {
    // Index 0 is what the model computes, index 1 what the profile makes of it.
    const std::array<Variant, 2> variants = {
        Variant{.name = "fp32", .arithmetic = Fp32Arithmetic(options.numerics)},
        Variant{.name = options.profile,
                .arithmetic = {.profile = &GetProfile(options.profile),
                               .dither_seed = {},
                               .numerics = options.numerics}}};
    StreamState state = journal.Resume();
    if (state.hidden.empty()) state = BeginStream(model, text.batch, variants);
    const std::int64_t layers = model.info().layers;
    if (state.next_layer > 0) Note(fmt::format("scan: going on at layer {}", state.next_layer));
    LayerProgress progress("scan", model);
    LayerWriter writer(journal, out);
    const auto finish = [&] {
      const std::int64_t written = writer.Finish();
      if (written >= 0 && options.after_layer) options.after_layer(written);
    };
    while (state.next_layer < layers) {
      ThrowIfInterrupted();
      const std::int64_t layer_index = state.next_layer;
      std::optional<LayerRecord> record;
      const auto observe = [&](std::int64_t layer, const Layer& opened,
                               std::span<const LayerActivations> passes) {
        if (opened.moe() == nullptr) return;
        record = ScanLayer(checkpoint, text, options, layer, *opened.moe(), passes[0], passes[1]);
      };
      AdvanceLayer(model, text.batch, variants, observe, state);
      finish();
      writer.Start(layer_index, std::move(record), SerializeState(state));
      progress.Update(state.next_layer);
    }
    finish();
  }
};

}  // namespace

ScanHeader RunScan(const Checkpoint& checkpoint, const Model& model,
                   std::vector<Document> documents, const ScanOptions& asked,
                   const std::filesystem::path& out) {
  const ScanOptions options = Resolve(model, asked);
  const ScanText text = PrepareScanText(std::move(documents), options.tokens,
                                        options.document_tokens, options.seed, options.part);
  if (text.all_tokens < options.tokens) {
    Note(fmt::format("scan: the text has {} tokens, {} were asked for", text.all_tokens,
                     options.tokens));
  }
  ScanHeader header = MakeScanHeader(checkpoint, model, text, options);

  MakeFolders(out);
  const FolderLock lock(out / ".lock");
  RemoveTemporaryFiles(out);
  if (options.fresh) DiscardScan(out);
  const bool finished = IsFinishedScan(out, header);
  ScanJournal journal(out, JournalKey(header));
  if (!finished) {
    LayerLoop{checkpoint, model, text, options, out}.Run(journal);
    WriteScanHeader(out, header);
  }
  journal.Finish();
  return header;
}

}  // namespace cacheready
