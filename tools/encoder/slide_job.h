// Patches of a slide as a job for the encoder: cut by region, from several threads, in the order in which the slide stores its tiles.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/slide/slide.h"
#include "tools/encoder/patch_encoder.h"

namespace stflow {

using OpenSlideImage = std::function<std::shared_ptr<const SlideImage>()>;

/// The squares of `side` level-0 pixels around xy (N, 2; column, row), resampled to size x size; row() and done() are left to the caller.
/// `open` is called when the first patch is wanted, once; the slide is let go with the last one. It must not be one that is read by rows.
PatchJob slide_job(std::string name, OpenSlideImage open, std::vector<double> xy, int64_t side, int size);

/// Which of these patches touch a tile that cannot be decoded, of a slide opened with skip_bad_tiles: ascending. Decodes all they need.
std::vector<int64_t> patches_on_bad_tiles(const SlideImage& slide, const std::vector<double>& xy, int64_t side, int size);

/// Takes the spots of these patches out of the section, with a warning, and adds their names to `missing`. Returns the rows that stay.
/// Throws Exit::data if none does.
std::vector<int64_t> leave_out_bad(Section& section, const SlideImage& slide, int64_t side, int size, std::vector<std::string>& missing);

}  // namespace stflow
