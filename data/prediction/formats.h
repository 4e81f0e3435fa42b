// The writers behind write_prediction(), one per format. Each is atomic; sizes have been checked.
#pragma once
#include "data/prediction/prediction.h"

namespace stflow {

/// AnnData's on-disk format of version 0.8, which scanpy and squidpy open and plot. X and layers/mean are the mean; obs has the spots'
/// places, var the genes; obsm/spatial is (x, y); uns/spatial/<sample> has the image and scale factors under the names of 10x and of
/// HEST, with NaN for what is unknown; uns/stflow says what made it.
void write_h5ad(const std::string& path, const PredictionFile& p);

/// QuPath's: a FeatureCollection of detections, circles or squares in full-resolution pixels (points where the diameter is unknown), with
/// a measurement per gene. gzip: the same text as one gzip member without a time stamp.
void write_geojson(const std::string& path, const PredictionFile& p, bool gzip);

}  // namespace stflow
