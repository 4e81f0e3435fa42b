// The flags by which a command looks for tissue on a slide and lays a grid over it.
#pragma once
#include <string>

#include "data/slide/slide.h"
#include "data/tissue/grid.h"
#include "tools/options.h"

namespace stflow {

struct TissueFlags {
  std::string tissue, save_tissue;  // GeoJSON files; "" for none
  std::string grid = "visium";
  double pitch = 0, overlap = 0;  // microns; pitch 0: see the flag
  double min_tissue_proportion = 0.25;
  bool remove_holes = true, remove_penmarks = true;

  /// `patch_microns`: the side of a patch. Throws Exit::usage for a pitch and an overlap that contradict each other.
  [[nodiscard]] GridOptions grid_options(double patch_microns) const;
};

/// Declares them under "Tissue".
void declare_tissue(Options& o, TissueFlags& f);
/// Throws Exit::usage for flags that contradict each other: before any file is read.
void check_tissue(const TissueFlags& f, double patch_microns);

/// The tissue of a slide of width x height pixels at `mpp` microns per pixel: of --tissue, or found on `thumbnail`, on which a pixel is
/// `downsample` full-resolution pixels wide. Writes --save-tissue. `name` is the slide's, for messages.
/// Throws Exit::data if there is none: an empty slide, or outlines that lie outside of it.
TissueMask tissue_of(const Image& thumbnail, double downsample, int64_t width, int64_t height, double mpp, const TissueFlags& f,
                     const std::string& name);

/// tissue_of() and the grid's positions on it. Throws also Exit::data if no position has enough tissue.
Places places_on(const Image& thumbnail, double downsample, int64_t width, int64_t height, double mpp, const TissueFlags& f,
                 double patch_microns, const std::string& name = "slide");

/// The same for a slide whose microns per pixel are known: tissue is looked for on its thumbnail.
Places places_on(const SlideImage& slide, const TissueFlags& f, double patch_microns);
TissueMask tissue_of(const SlideImage& slide, const TissueFlags& f);

}  // namespace stflow
