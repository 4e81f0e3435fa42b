// The flags by which a command takes a slide: what its file says wrongly or not at all.
#pragma once
#include <string>
#include <vector>

#include "data/slide/slide.h"
#include "tools/options.h"

namespace stflow {

struct SlideFlags {
  std::string mpp_csv, bad_tiles = "refuse";

  /// What SlideImage is told, after parsing; `mpp` is that of --mpp. Throws Exit::data for a table that is none.
  [[nodiscard]] SlideOptions reading(double mpp) const;
};

/// Declares --mpp-csv and --bad-tiles.
void declare_slide(Options& o, SlideFlags& f);

/// Whether a name ends as those of slides and images do.
bool has_slide_name(const std::string& path);
/// The files of a folder with such names, in order.
std::vector<std::string> slides_in(const std::string& folder);

}  // namespace stflow
