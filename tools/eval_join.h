// Predictions beside what was measured: joined by sample, barcode and gene.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/options.h"

namespace stflow {

/// How many names the prediction and the truth have, and how many both.
struct Overlap {
  int64_t prediction = 0, truth = 0, both = 0;
};

/// All matched spots, sample after sample, and the genes that every prediction and every truth has.
struct Joined {
  std::vector<std::string> samples, genes;
  std::vector<int64_t> ends;                         // behind each sample's last spot
  std::vector<float> prediction, truth;              // (n, G) log(1 + counts)
  std::map<std::string, std::vector<float>> layers;  // those that all predictions have, each (n, G)
  std::vector<Overlap> spots_in, genes_in;           // of each sample
};

/// `predictions`: a file or folder of prediction_files(); `truth`: counts as .tsv or .tsv.gz, a table of predictions' layout as .csv, or
/// whatever open_dataset() opens. A single prediction and a single truth need no common name. What is only in one side is left out with a
/// warning. Throws Exit::data where less than half of the smaller side's samples, spots or genes are in the other.
Joined join(const std::string& predictions, const std::string& truth, const DataOptions& reading);

}  // namespace stflow
