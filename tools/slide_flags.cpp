#include "tools/slide_flags.h"

namespace stflow {

void declare_slide(Options& o, SlideFlags& f) {
  o.flag("mpp-csv", &f.mpp_csv, "table of slides (wsi, mpp) whose files do not say their microns per pixel").placeholder("FILE");
  o.flag("bad-tiles", &f.bad_tiles, "a tile of a slide that cannot be decoded: refuse, or skip and leave out the patches on it")
      .choices({"refuse", "skip"});
}

SlideOptions SlideFlags::reading(double mpp) const {
  SlideOptions o;
  o.mpp = mpp;
  if (!mpp_csv.empty()) o.mpp_of = read_mpp_csv(mpp_csv);
  o.skip_bad_tiles = bad_tiles == "skip";
  return o;
}

}  // namespace stflow
