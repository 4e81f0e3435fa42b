// From sections on disk to slides that a model sees: features from an encoder (kept in a cache) or precomputed ones.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/panel.h"
#include "engine/device.h"
#include "model/encoder.h"
#include "model/slide.h"

namespace stflow {

/// What --encoder, --cache-dir, --device and --precision say.
struct FeatureOptions {
  std::string encoder;  // a checkpoint; "" for the one that comes with stflow
  std::string cache;    // folder; "" for none
  Context context;      // where the encoder runs
  Precision precision = Precision::stored;
};

/// The values of --precision, and what one means.
inline const std::vector<std::string> kPrecisions{"stored", "f32", "f16", "bf16", "int8"};
Precision precision_of(const std::string& word);

/// Where a folder that comes with stflow is ("weights", "data/samples"): beside the program, else where `make install` puts it.
/// If it is in neither place, the one beside the program, for the error of whoever opens it.
std::string shipped(const std::string& folder);
/// The checkpoint that comes with stflow; throws Exit::missing with what to pass if it is not there.
std::string default_encoder();

/// Makes sure that every section has features. If one came with precomputed features all must have; otherwise they come from the
/// cache or are computed now (with a progress bar; Exit::preempted at a stop signal, if those are caught). Returns the identity of what
/// made them: "kind" precomputed or encoder, sizes, hashes.
std::map<std::string, std::string> add_features(std::vector<Section>& sections, const FeatureOptions& options);

/// A slide of the section's spots, with counts of the panel where the section has counts.
Slide make_slide(const Section& section, const Panel& panel, MissingGenes missing);

}  // namespace stflow
