// From sections on disk to slides that a model sees: features from an encoder (kept in a cache) or precomputed ones.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/panel.h"
#include "data/slide/slide.h"
#include "engine/distributed/communicator.h"
#include "model/slide.h"
#include "tools/encoder/patch_encoder.h"

namespace stflow {

/// What --encoder (and what goes with it), --cache-dir and --device say.
struct FeatureOptions {
  EncoderFlags encoder;
  std::string cache;  // folder; "" for none
};

/// Makes sure that every section has features. If one came with precomputed features all must have; otherwise they come from the
/// cache or are computed now (with a progress bar; Exit::preempted at a stop signal, if those are caught). Returns the identity of what
/// made them: what the files of precomputed features say, "kind" precomputed and their width if they say nothing. Throws Exit::data,
/// showing both, for sections of different origin, and for features that are not those of the encoder that the options name.
/// Several `ranks` share the sections that are to be embedded, by their size, and give each other the features.
Origin add_features(std::vector<Section>& sections, const FeatureOptions& options, Communicator& ranks);

/// Leaves out the spots that have no patch in the section's file of patches. Throws Exit::data if fewer than half of either are left.
void keep_patched(Section& section, std::vector<std::string>& warnings);

/// The patches of a section as a job for embed_patches(), cut from its image as `spec` says, or, without one, from its file of patches.
/// `slide`: the image where it is open already. The job looks at the section until it is done. Throws as check_patches() does.
PatchJob section_job(const Section& section, const PatchSpec& spec, std::function<void(int64_t, const float*)> row,
                     std::function<void()> done, const std::shared_ptr<const SlideImage>& slide = {});
/// Throws Exit::data for a section of which nothing can be cut: neither image nor patches.
void check_patches(const Section& section);
/// The section's image if it is a slide that is read by rectangle, else null. `skip_bad`: tiles that cannot be decoded are white.
std::shared_ptr<const SlideImage> tiled_image(const Section& section, bool skip_bad);

/// What identifies an encoder's features in the cache.
std::string cache_text(const PatchEncoder& encoder);

/// A slide of the section's spots, with counts of the panel where the section has counts.
Slide make_slide(const Section& section, const Panel& panel, MissingGenes missing);

}  // namespace stflow
