// A prediction as the file that is written of it.
#pragma once
#include "data/prediction/prediction.h"
#include "model/predictor.h"
#include "tools/predict/inputs.h"

namespace stflow {

/// What `model` (whose file has the SHA-256 `hash`) has predicted for `slide`, with names, columns and provenance; `clipped`: without
/// negative values. `quantiles` are those of a measurement where the model knows its residuals on left-out spots; else they must be the
/// ones that `options` asked for, of the draws. Keeps a pointer to the input's section.
PredictionFile prediction_file(const Predictor& model, const std::string& hash, const PredictInput& input, const Slide& slide,
                               const PredictOptions& options, const std::vector<double>& quantiles, Prediction&& p, bool clipped);

/// A reduced image of the section, for plots; none if it has no image.
void add_image(const PredictInput& input, PredictionFile& file);

}  // namespace stflow
