// stflow inspect: what a file is, told from its content. Each kind has a file beside this one.
#include "tools/commands.h"
#include "tools/data_flags.h"
#include "tools/inspect/sections.h"
#include "tools/inspect/slide.h"
#include "tools/inspect/weights.h"

namespace stflow {

int inspect(const Args& args) {
  std::string in;
  DataFlags data;
  WeightsInspection weights;
  SlideFlags slides;
  Options o("inspect",
            "Says what a file or folder is: sections and their counts; a slide, its levels, scale and tissue; weights and their encoder.",
            "stflow inspect slide.svs");
  o.argument("file", &in,
             "slide or image; data set, manifest or .h5ad file; file or folder of weights, or the name of a downloaded encoder");
  o.section("Weights");
  o.flag("preset", &weights.preset, "the published encoder that these weights are").placeholder("NAME");
  o.flag("part", &weights.part, "which of several state dicts (teacher, student...)").placeholder("NAME");
  o.flag("tensors", &weights.list, "list every tensor");
  o.flag("sha256", &weights.hash, "the hash of the file, too: reads all of it");
  o.section("Slides");
  declare_slide(o, slides);
  o.section("Sections and slides");
  declare_reading(o, data);
  if (!o.parse(args)) return 0;
  if (is_spatial(in)) inspect_spatial(in, data.reading());
  else if (is_slide(in)) inspect_slide(in, slides.reading(data.options.mpp));
  else inspect_weights(in, weights);
  return 0;
}

}  // namespace stflow
