#include "tools/tissue_flags.h"

#include <algorithm>
#include <cmath>

#include "data/tissue/contours.h"
#include "data/tissue/geojson.h"
#include "engine/error.h"

namespace stflow {
namespace {

constexpr double kMostMaskPixels = 67'108'864;

// Pixels as wide as those in which tissue is looked for, more where a slide would have too many of them.
TissueMask mask_of_file(const std::string& path, int64_t width, int64_t height, double mpp) {
  const double all = double(width) * double(height);
  const double scale = std::max({1.0, TissueOptions{}.resolution / mpp, std::sqrt(all / kMostMaskPixels)});
  auto pixels = [&](int64_t n) { return int64_t(std::ceil(double(n) / scale)); };
  TissueMask mask = mask_of(read_tissue(path), pixels(width), pixels(height), scale, path);
  if (mask.empty())
    fail(Exit::data, "{}: features: no outline on the slide of {} x {} pixels, expected full-resolution pixels of it", path, width, height);
  return mask;
}

}  // namespace

void declare_tissue(Options& o, TissueFlags& f) {
  o.section("Tissue");
  o.flag("tissue", &f.tissue, "outlines of the tissue (GeoJSON of QuPath, TRIDENT or HEST, also .gz); without it tissue is looked for")
      .placeholder("FILE");
  o.flag("save-tissue", &f.save_tissue, "GeoJSON to write the outlines to, for QuPath").placeholder("FILE");
  o.flag("remove-holes", &f.remove_holes, "holes of more than 0.05 square millimetres are not tissue");
  o.flag("remove-penmarks", &f.remove_penmarks, "green, blue and glaring red are pen marks, not tissue");
  o.flag("grid", &f.grid, "positions of a slide without spots: hexagonal as on a Visium array, or square").choices({"visium", "square"});
  o.flag("pitch", &f.pitch, "microns between centres; 0: 100 for visium, a patch's side less --overlap for square")
      .placeholder("UM")
      .range(0, 1e6);
  o.flag("overlap", &f.overlap, "microns that neighbouring patches of a square grid share").placeholder("UM").range(0, 1e6);
  o.flag("min-tissue-proportion", &f.min_tissue_proportion, "share of a patch that must be tissue").range(0, 1);
}

GridOptions TissueFlags::grid_options(double patch_microns) const {
  const bool square = grid == "square";
  if (overlap > 0 && !square) fail(Exit::usage, "--overlap: found {} for --grid visium, expected --grid square", overlap);
  if (overlap > 0 && pitch > 0) fail(Exit::usage, "--overlap: found {} beside --pitch {}, expected one of them", overlap, pitch);
  if (overlap >= patch_microns)
    fail(Exit::usage, "--overlap: found {} microns, expected less than a patch's side of {}", overlap, patch_microns);
  GridOptions g;
  g.hexagonal = !square;
  g.patch = patch_microns;
  g.pitch = pitch > 0 ? pitch : square ? patch_microns - overlap : 100;
  g.least_share = min_tissue_proportion;
  return g;
}

void check_tissue(const TissueFlags& f, double patch_microns) { static_cast<void>(f.grid_options(patch_microns)); }

TissueMask tissue_of(const Image& thumbnail, double downsample, int64_t width, int64_t height, double mpp, const TissueFlags& f,
                     const std::string& name) {
  check(mpp > 0 && downsample > 0, "tissue: {} microns per pixel, downsample {}, expected more than 0", mpp, downsample);
  TissueMask mask;
  if (!f.tissue.empty()) {
    mask = mask_of_file(f.tissue, width, height, mpp);
  } else {
    TissueOptions o;
    o.remove_holes = f.remove_holes, o.remove_penmarks = f.remove_penmarks;
    mask = find_tissue(thumbnail, mpp * downsample, o, downsample);
    if (mask.empty())
      fail(Exit::data, "{}: tissue: none found at {:.1f} microns per pixel, expected some; --tissue FILE takes outlines drawn by hand",
           name, mpp * mask.scale);
  }
  if (!f.save_tissue.empty()) write_tissue(f.save_tissue, contours(mask));
  return mask;
}

Places places_on(const Image& thumbnail, double downsample, int64_t width, int64_t height, double mpp, const TissueFlags& f,
                 double patch_microns, const std::string& name) {
  const GridOptions grid = f.grid_options(patch_microns);
  const TissueMask mask = tissue_of(thumbnail, downsample, width, height, mpp, f, name);
  Places places = lay_grid(mask, width, height, mpp, grid);
  if (places.size() == 0)
    fail(Exit::data,
         "{}: tissue: no patch of {} microns has {} of it ({:.2f} % of the slide is tissue), expected some; lower --min-tissue-proportion",
         name, patch_microns, f.min_tissue_proportion, 100 * mask.share());
  return places;
}

namespace {

constexpr int64_t kThumbnail = 4096;  // pixels of its longer side: 25 um each on a slide of 10 cm

}  // namespace

TissueMask tissue_of(const SlideImage& slide, const TissueFlags& f) {
  const Image small = slide.thumbnail(kThumbnail);
  return tissue_of(small, double(slide.width()) / double(small.width), slide.width(), slide.height(), slide.known_mpp(), f, slide.path());
}

Places places_on(const SlideImage& slide, const TissueFlags& f, double patch_microns) {
  const Image small = slide.thumbnail(kThumbnail);
  return places_on(small, double(slide.width()) / double(small.width), slide.width(), slide.height(), slide.known_mpp(), f, patch_microns,
                   slide.path());
}

}  // namespace stflow
