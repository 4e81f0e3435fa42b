// The flags by which every command takes sections: where they are, how they are read, where their features come from.
#pragma once
#include <string>

#include "tools/features.h"
#include "tools/options.h"

namespace stflow {

struct DataFlags {
  std::string path;
  DataOptions options;
  EncoderFlags encoder;
  std::string cache;
  std::string duplicate_genes = "refuse", missing_genes = "refuse", values = "counts";

  /// What open_dataset() is told, after parsing.
  [[nodiscard]] DataOptions reading() const;
  [[nodiscard]] FeatureOptions features(const Context& context) const;
  [[nodiscard]] MissingGenes missing() const { return missing_genes == "zero" ? MissingGenes::zero : MissingGenes::refuse; }
};

/// Declares them under "Data".
void declare_data(Options& o, DataFlags& f);
/// Those of them that say how sections are read and where their features come from, without --data and what is trained on.
void declare_features(Options& o, DataFlags& f);
/// Those of them that say how tables and images are read, without --data.
void declare_reading(Options& o, DataFlags& f);

}  // namespace stflow
