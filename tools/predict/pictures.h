// Pictures beside a prediction: heat maps of genes as PNG, and overlays on the whole slide for viewers.
#pragma once
#include <string>
#include <vector>

#include "data/prediction/prediction.h"
#include "tools/options.h"
#include "tools/predict/inputs.h"

namespace stflow {

struct PictureFlags {
  std::vector<std::string> maps, overlays;  // genes
};

void declare_pictures(Options& o, PictureFlags& f);
/// Throws Exit::usage for a gene that the model does not predict: before any work.
void check_pictures(const PictureFlags& f, const std::vector<std::string>& genes);

/// Writes <prediction without its end>.<gene>.png and .ome.tif. `p` has the reduced image for the maps; without one they are drawn on
/// white. Throws Exit::usage for an overlay of a section without an image, Exit::create for a file that is there unless `overwrite`.
void write_pictures(const PictureFlags& f, const PredictInput& input, const PredictionFile& p, const std::string& prediction,
                    bool overwrite);

}  // namespace stflow
