// What a finished training run tells: scores beside the baselines', predictions, maps.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "data/section.h"
#include "model/fit.h"
#include "model/metrics.h"
#include "tools/json_out.h"

namespace stflow {

/// Predictions of one method for all judged sections, pooled, in log(1 + counts).
struct Judged {
  std::string method;
  std::vector<float> prediction;  // (n of all sections, G)
  Scores scores;
};

struct Report {
  std::vector<std::string> genes, samples;
  std::vector<float> truth;     // (n, G)
  std::vector<Judged> methods;  // the model first, then the baselines
  Selection selection;
};

/// Predicts `test` with the model and with ridge regression on the spots' own features and on own and neighbours' features; the
/// baselines' penalties are chosen on the same folds as the model's.
Report judge(const Predictor& model, const Selection& selection, const std::vector<Slide>& train, const std::vector<Slide>& val,
             const std::vector<Slide>& test);

/// The table at the end of a run: mean and spread of Pearson over genes, best and worst genes.
std::string report_text(const Report& report);
JsonOut report_json(const Report& report);

/// PNGs of the model's best `count` genes on the first section.
void write_maps(const Report& report, const Section& section, const std::string& folder, int count = 4);

}  // namespace stflow
