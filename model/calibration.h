// Whether a prediction's own uncertainty can be trusted.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace stflow {

/// What a prediction says of its own uncertainty, each (n, G), f32; any of it may be missing.
struct Uncertainty {
  std::vector<Tensor> draws;           // two or more
  std::map<double, Tensor> quantiles;  // by probability
  Tensor mean, sd;                     // sd.data null: none
};

/// How often the truth lies where the prediction says that it does. For each number the best source at hand: draws, then quantiles, then
/// the normal distribution of mean and sd; `from` says which ("draws", "quantiles", "normal"), "" where there is none.
struct Calibration {
  struct Coverage {
    double level = 0, share = 0;  // of the truths within the central interval of this probability; right if both are equal
    std::string from;
  };
  std::vector<Coverage> coverage;  // of 50, 80 and 90 %
  /// Where the truth stands in the predicted distribution (probability integral transform): 20 equal bins of [0, 1], shares that sum to 1;
  /// flat if the distribution is right. Ties with draws are spread evenly over the ranks that they take (Czado, Gneiting and Held 2009).
  std::vector<double> pit;
  std::string pit_from;
  /// Continuous ranked probability score, the lower the better, in the unit of the truth: of draws in its unbiased form (Ferro 2014), of a
  /// normal distribution in closed form (Gneiting et al. 2005).
  double crps = 0;
  std::string crps_from;
};

/// truth (n, G), f32. Whatever has no source stays empty or NaN.
Calibration calibrate(const Uncertainty& prediction, const Tensor& truth);

}  // namespace stflow
