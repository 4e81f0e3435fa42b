#include "tools/slide_flags.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <set>

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

bool has_slide_name(const std::string& path) {
  static const std::set<std::string> ends{".svs", ".tif", ".tiff",    ".btf", ".ndpi", ".mrxs", ".scn", ".bif",
                                          ".vms", ".vmu", ".svslide", ".jpg", ".jpeg", ".png",  ".bmp", ".ppm"};
  std::string end = std::filesystem::path(path).extension().string();
  std::transform(end.begin(), end.end(), end.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return ends.contains(end);
}

std::vector<std::string> slides_in(const std::string& folder) {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.is_regular_file() && has_slide_name(entry.path().string())) found.push_back(entry.path().string());
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace stflow
