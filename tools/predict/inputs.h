// What `stflow predict` is given, as sections: data sets with spots of their own, and slides, over which a grid of spots is laid.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "data/slide/slide.h"
#include "data/tissue/grid.h"
#include "tools/data_flags.h"
#include "tools/slide_flags.h"
#include "tools/tissue_flags.h"

namespace stflow {

struct InputFlags {
  std::vector<std::string> paths;
  std::string coordinates, known;
  DataFlags data;
  SlideFlags slides;
  TissueFlags tissue;
};

/// A section that is to be predicted.
struct PredictInput {
  Section section;                          // of a slide: without counts
  std::shared_ptr<const SlideImage> slide;  // none for a section of a data set
  std::shared_ptr<const SlideImage> image;  // of a section of a data set, where that is a slide in tiles
  Places places;                            // of a slide's spots; names and xy are the section's
  bool square = false;                      // the places are bins of a square grid
  int64_t measured = 0;                     // the first spots of a slide are those of --known
  std::vector<std::string> missing;         // spots left out because the slide's file is damaged where they are
};

/// All inputs in their order: a folder of slides gives its slides by name. `patch_microns`: the side of a patch of tissue. Says and warns
/// what the readers have to say. `known`, if not null, are measured spots, which become spots of the slide; the grid leaves room for them.
/// Throws as the readers do; Exit::usage for samples of the same name and for flags that the inputs do not take.
std::vector<PredictInput> read_inputs(const InputFlags& f, double patch_microns, const Section* known);

/// The section of a data set of measured spots that belongs to `sample`: the only one, or the one of that name. Null if there is none.
const Section* known_of(const std::vector<Section>& known, const std::string& sample);

/// log(1 + counts) of the spots and genes that `known` has, NaN elsewhere: (N, G). Spots are told by their names, genes by their names or
/// ids. Throws Exit::data if no spot or no gene is among them.
std::vector<float> known_values(const Section& known, const std::vector<std::string>& spots, const std::vector<std::string>& genes);

}  // namespace stflow
