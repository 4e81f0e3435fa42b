// From sections on disk to slides that a model sees: features from an encoder (kept in a cache) or precomputed ones.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/panel.h"
#include "engine/device.h"
#include "engine/distributed/communicator.h"
#include "model/slide.h"

namespace stflow {

/// What --encoder, --cache-dir and --device say.
struct FeatureOptions {
  std::string encoder;  // a checkpoint; "" for the one that comes with stflow
  std::string cache;    // folder; "" for none
  Context context;      // where the encoder runs
};

/// Where a folder that comes with stflow is ("weights", "data/samples"): beside the program, else where `make install` puts it.
/// If it is in neither place, the one beside the program, for the error of whoever opens it.
std::string shipped(const std::string& folder);
/// The checkpoint that comes with stflow; throws Exit::missing with what to pass if it is not there.
std::string default_encoder();

/// Makes sure that every section has features. If one came with precomputed features all must have; otherwise they come from the
/// cache or are computed now (with a progress bar; Exit::preempted at a stop signal, if those are caught). Returns the identity of what
/// made them: "kind" precomputed or encoder, sizes, hashes.
/// Several `ranks` share the sections that are to be embedded, by their size, and give each other the features.
std::map<std::string, std::string> add_features(std::vector<Section>& sections, const FeatureOptions& options, Communicator& ranks);

/// A slide of the section's spots, with counts of the panel where the section has counts.
Slide make_slide(const Section& section, const Panel& panel, MissingGenes missing);

}  // namespace stflow
