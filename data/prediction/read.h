// Predictions in: what write_prediction() wrote as .h5ad or .csv, or another program as .h5ad.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace stflow {

struct ReadPrediction {
  std::string path, sample;  // sample: the file's name without its end
  std::vector<std::string> spots, genes;
  std::vector<float> mean;                           // (N, G) log(1 + counts)
  std::map<std::string, std::vector<float>> layers;  // "std", "q05", "sample_0" ... of an .h5ad file, each (N, G)
};

/// A table of predictions from its text, plain or gzip; `path` is for messages. Throws as read_prediction() does.
ReadPrediction read_prediction_table(std::string_view text, const std::string& path);

/// Whether the header of this text is that of a table of predictions, "spot,x,y,<genes...>".
bool is_prediction_table(std::string_view text);

/// Reads .h5ad (X, and the layers std, q<digits> and sample_<number>) or .csv. Throws Exit::missing; Exit::usage for another name's end;
/// Exit::data for a damaged file, a spot or gene that comes twice, a number that is not finite.
ReadPrediction read_prediction(const std::string& path);

/// A file, or all .h5ad and .csv files of a folder, by name. Throws Exit::missing where there is none, Exit::data for a sample that has
/// both.
std::vector<std::string> prediction_files(const std::string& path);

/// The probability of a layer of quantiles: 0.05 for "q05"; 0 for any other layer.
double quantile_of_layer(const std::string& name);

}  // namespace stflow
