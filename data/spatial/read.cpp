#include "data/spatial/read.h"

#include "data/legacy_st.h"
#include "data/spatial/h5ad.h"

namespace stflow {

void read_tables(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  const std::string& counts = s.source.counts;
  if (counts.ends_with(".h5ad")) read_h5ad_section(s, options, warnings);
  else read_legacy(s, options, warnings);
}

}  // namespace stflow
