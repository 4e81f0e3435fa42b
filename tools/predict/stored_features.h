// Features of what is predicted, in a file: there may be more of them than memory holds.
#pragma once
#include <memory>
#include <string>

#include "data/feature_store.h"
#include "tools/encoder/patch_encoder.h"
#include "tools/predict/inputs.h"

namespace stflow {

/// Leaves out the spots whose patches lie on tiles that cannot be decoded, with a warning and their names in input.missing: of a slide
/// that was opened so, or of a section whose image is one. Decodes all patches.
void keep_decodable(PredictInput& input, const PatchEncoder& encoder);

/// Computes the features of the input's spots into a file of `folder`. Those of a section of a data set come from the cache (a folder, ""
/// for none) where it has them, and are put there if they take at most `most` bytes of memory. Throws as embed_patches() and FeatureStore.
std::unique_ptr<FeatureStore> store_features(const PredictInput& input, PatchEncoder& encoder, const std::string& cache,
                                             const std::string& folder, size_t most);

}  // namespace stflow
