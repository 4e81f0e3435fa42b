#include "tools/predict/pictures.h"

#include <algorithm>
#include <filesystem>

#include "data/prediction/maps.h"
#include "data/prediction/overlay.h"
#include "engine/error.h"
#include "engine/nearest.h"
#include "engine/text.h"
#include "tools/signals.h"

namespace stflow {
namespace {

std::string place(const std::string& prediction, std::string gene, const std::string& end, bool overwrite) {
  std::replace(gene.begin(), gene.end(), '/', '_');
  std::string stem = prediction;
  for (const std::string_view format : {".gz", ".h5ad", ".csv", ".geojson"})
    if (stem.ends_with(format)) stem.resize(stem.size() - format.size());
  std::string path = fmt::format("{}.{}{}", stem, gene, end);
  if (!overwrite && std::filesystem::exists(path)) fail(Exit::create, "{}: exists, expected a new file; pass --overwrite", path);
  return path;
}

std::vector<float> values_of(const PredictionFile& p, const std::string& gene) {
  const auto column = size_t(std::find(p.genes.begin(), p.genes.end(), gene) - p.genes.begin());
  std::vector<float> values;
  for (size_t i = column; i < p.mean.size(); i += p.genes.size()) values.push_back(p.mean[i]);
  return values;
}

/// The spots' places on white, for a section without an image.
MapBackground white_background(const Section& s, double radius) {
  const double most = s.xy.empty() ? 1 : std::max(1.0, *std::max_element(s.xy.begin(), s.xy.end()) + 4 * radius);
  const int64_t side = 600;
  const Image white{side, side, std::vector<uint8_t>(size_t(3 * side * side), 255)};
  return map_background(white, double(side) / most, s.mpp, s.xy, radius);
}

/// A slide's rows, from bands as high as its tiles, so that each is decoded once; other images from above to below as they are stored.
RowSource rows_of(const PredictInput& input) {
  const Section& s = input.section;
  const auto slide = input.slide ? input.slide : input.image;
  if (!slide || slide->by_rows()) {
    const auto reader = std::make_shared<ImageReader>(s.source.image);
    return {reader->width(), reader->height(), [reader](uint8_t* rgb) { reader->next_row(rgb); }};
  }
  struct Band {
    Image pixels;
    int64_t top = 0, next = 0;
  };
  const auto band = std::make_shared<Band>();
  const int64_t high = std::clamp<int64_t>(slide->levels()[0].tile_height, 64, 512);
  return {slide->width(), slide->height(), [=](uint8_t* rgb) {
            if (band->next == band->top + band->pixels.height) {
              check_stop();
              band->top = band->next;
              band->pixels = slide->read(0, 0, band->top, slide->width(), std::min(high, slide->height() - band->top));
            }
            const auto from = band->pixels.rgb.begin() + 3 * slide->width() * (band->next++ - band->top);
            std::copy(from, from + 3 * slide->width(), rgb);
          }};
}

}  // namespace

void declare_pictures(Options& o, PictureFlags& f) {
  o.flag("heat-maps", &f.maps, "genes of which a map is drawn, beside the prediction as .GENE.png").placeholder("GENE,...");
  o.flag("overlay", &f.overlays, "genes that are laid over the whole image, as pyramidal .GENE.ome.tif").placeholder("GENE,...");
}

void check_pictures(const PictureFlags& f, const std::vector<std::string>& genes) {
  for (const auto& [flag, wanted] : {std::pair{"heat-maps", &f.maps}, std::pair{"overlay", &f.overlays}})
    for (const std::string& gene : *wanted)
      if (std::find(genes.begin(), genes.end(), gene) == genes.end())
        fail(Exit::usage, "--{}: found {}, expected genes that the model predicts; the nearest is {}", flag, shown(gene),
             shown(nearest(gene, genes)));
}

void write_pictures(const PictureFlags& f, const PredictInput& input, const PredictionFile& p, const std::string& prediction,
                    bool overwrite) {
  const Section& s = input.section;
  const double radius = std::max(1.0, p.spot_diameter / 2);
  if (!f.maps.empty()) {
    const MapBackground background = p.hires ? map_background(*p.hires, p.hires_scale, s.mpp, s.xy, radius) : white_background(s, radius);
    for (const std::string& gene : f.maps)
      write_heat_map(place(prediction, gene, ".png", overwrite), background, fmt::format("{}  in {}", gene, s.sample()),
                     values_of(p, gene));
  }
  if (f.overlays.empty()) return;
  if (s.source.image.empty()) fail(Exit::usage, "--overlay: {} has no image, expected one to lay {} over", s.sample(), f.overlays[0]);
  for (const std::string& gene : f.overlays) {
    PyramidOptions options;
    options.mpp = s.mpp, options.name = s.sample(), options.description = gene + " in log(1 + counts)";
    write_overlay(place(prediction, gene, ".ome.tif", overwrite), rows_of(input), {s.xy, values_of(p, gene), radius, p.square_spots, 0.6},
                  std::move(options));
  }
}

}  // namespace stflow
