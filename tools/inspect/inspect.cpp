// stflow inspect: what a file is, told from its content. Each kind has a file beside this one.
#include "tools/commands.h"
#include "tools/inspect/slide.h"
#include "tools/inspect/weights.h"

namespace stflow {

int inspect(const Args& args) {
  std::string in;
  double mpp = 0;
  WeightsInspection weights;
  SlideFlags slides;
  Options o("inspect", "Says what a file is: weights, and whether an encoder can be made of them; a slide, its levels and its scale.",
            "stflow inspect slide.svs");
  o.argument("file", &in, "slide or image; file or folder of weights, or the name of a downloaded encoder");
  o.section("Weights");
  o.flag("preset", &weights.preset, "the published encoder that these weights are").placeholder("NAME");
  o.flag("part", &weights.part, "which of several state dicts (teacher, student...)").placeholder("NAME");
  o.flag("tensors", &weights.list, "list every tensor");
  o.flag("sha256", &weights.hash, "the hash of the file, too: reads all of it");
  o.section("Slides");
  o.flag("mpp", &mpp, "microns per pixel; 0: what the file says").range(0, 100);
  declare_slide(o, slides);
  if (!o.parse(args)) return 0;
  if (is_slide(in)) inspect_slide(in, slides.reading(mpp));
  else inspect_weights(in, weights);
  return 0;
}

}  // namespace stflow
