#include "data/spatial/read.h"

#include <filesystem>

#include "data/legacy_st.h"
#include "data/spatial/csv_section.h"
#include "data/spatial/h5ad.h"
#include "data/spatial/tenx.h"

namespace stflow {

namespace fs = std::filesystem;

void read_tables(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  const std::string& counts = s.source.counts;
  auto ends = [&](auto... endings) { return (counts.ends_with(endings) || ...); };
  if (ends(".h5ad")) read_h5ad_section(s, options, warnings);
  else if (ends(".h5") || fs::is_directory(counts)) read_tenx_section(s, options, warnings);
  else if (ends(".csv", ".csv.gz")) read_csv_section(s, options, warnings);
  else read_legacy(s, options, warnings);
}

}  // namespace stflow
