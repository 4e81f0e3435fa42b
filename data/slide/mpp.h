// Microns per pixel: what each source says, and whether they agree. Never guessed.
#pragma once
#include <string>
#include <vector>

#include "data/slide/slide.h"
#include "data/slide/tiff_directory.h"

namespace stflow {

struct MppResult {
  double value = 0;     // 0: not known
  std::string from;     // the source, or several that agree
  std::string problem;  // why it is not known: "<file>: ..., expected ..."
  std::vector<std::string> warnings;
};

/// What a page's tags and description say: Aperio's MPP, OME's PhysicalSizeX, ImageJ's unit, XResolution.
std::vector<MppClaim> mpp_claims_of(const TiffPage& page);

/// HEST's metadata beside the slide, <stem>.json or ../metadata/<stem>.json: pixel_size_um_estimated. Throws Exit::data for one that is no
/// JSON.
std::vector<MppClaim> mpp_sidecar(const std::string& path);

/// --mpp and --mpp-csv win. Otherwise claims outside 0.05 to 10 are left out with a warning, and those that are left must agree within 5 %
/// with each other, and x with y.
MppResult resolve_mpp(const std::string& path, const std::vector<MppClaim>& claims, const SlideOptions& options);

}  // namespace stflow
