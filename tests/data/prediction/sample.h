// A small prediction with everything that a file may hold.
#pragma once
#include <cmath>
#include <limits>

#include "data/prediction/prediction.h"
#include "tests/data/tiny.h"

namespace stflow::test {

struct PredictionSample {
  Section section;
  PredictionFile file;

  PredictionSample() {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    section.source.sample = "S/1";
    section.spots = {"1x5", "2x5", "10x12"}, section.xy = {10, 20, 30, 21.5, 50, 60};
    section.width = 80, section.height = 70, section.mpp = 0.5;
    file.section = &section;
    file.genes = {"ACTB", "\xc3\xa9,\"1\""}, file.gene_ids = {"ENSG1", "ENSG2"};
    file.mean = {0.5f, 0, 1.25f, 2, nan, 3};
    file.layers = {{"std", {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f}}, {"sample_0", {1, 2, 3, 4, 5, 6}}};
    file.gene_columns = {{"train_pcc", {0.75f, nan}}, {"mean", {1, 2}}};
    file.spot_columns = {{"feature_distance", {0.5f, 1, nan}}};
    file.hires = picture(8, 6), file.hires_scale = 0.1;
    file.spot_diameter = 8;
    file.about = {{"seed", "7"}, {"version", "0.0"}, {"preset", "\xc3\xa9"}};
  }
  PredictionSample(const PredictionSample&) = delete;

  /// `many` spots of one gene instead.
  void fill(size_t many) {
    section.spots.clear(), section.xy.clear();
    for (size_t i = 0; i < many; i++) {
      section.spots.push_back("spot" + std::to_string(i));
      section.xy.push_back(double(i)), section.xy.push_back(double(i) / 3);
    }
    file.genes = {"G"}, file.gene_ids.clear();
    file.mean.clear();
    for (size_t i = 0; i < many; i++) file.mean.push_back(std::sin(float(i)));
    file.layers.clear(), file.gene_columns.clear(), file.spot_columns.clear();
  }
};

}  // namespace stflow::test
