// A task of HEST-bench: slides with cut patches and expression, folds of them, and the genes to predict.
#pragma once
#include <string>
#include <vector>

namespace stflow {

/// A slide of a fold; paths are ready to open.
struct HestSample {
  std::string sample, patches, expression;  // patches/ID.h5, adata/ID.h5ad
};

struct HestSplit {
  std::vector<HestSample> train, test;
};

struct HestBench {
  std::vector<HestSplit> folds;    // splits/train_0.csv with test_0.csv, and so on
  std::vector<std::string> genes;  // var_50genes.json
};

/// Whether a folder is meant to be one: it has splits/ and adata/.
bool is_hest_bench(const std::string& folder);

/// Reads splits and genes; whether the slides can be read shows when they are. Throws Exit::missing for a file that is not there;
/// Exit::data with line and column for a table that is none, a path that leaves the folder, a slide that a fold has for training and for
/// testing, a train_i.csv without test_i.csv.
HestBench read_hest_bench(const std::string& folder);

}  // namespace stflow
