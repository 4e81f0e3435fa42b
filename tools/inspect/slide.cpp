#include "tools/inspect/slide.h"

#include <filesystem>

#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"
#include "tools/json_out.h"
#include "tools/slide_flags.h"
#include "tools/terminal.h"
#include "tools/tissue_flags.h"

namespace stflow {

bool is_slide(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) return false;
  const FileView file(path);
  // OpenSlide's library is not loaded for a file of weights.
  return sniff(file.text().substr(0, 512)) == "a TIFF image" || !image_format(file.text()).empty() || has_slide_name(path);
}

void inspect_slide(const std::string& path, const SlideOptions& options) {
  const SlideImage s(path, options);
  JsonOut json{{"file", path}, {"kind", "slide"}, {"format", s.format()}, {"width", s.width()}, {"height", s.height()}};
  std::string text = fmt::format("{}\n  {:<14} {}, {} x {} pixels\n", path, "format", s.format(), s.width(), s.height());
  json["levels"] = JsonOut::array();
  for (const SlideLevel& l : s.levels()) {
    json["levels"].push_back({{"width", l.width},
                              {"height", l.height},
                              {"downsample", l.downsample},
                              {"tile_width", l.tile_width},
                              {"tile_height", l.tile_height},
                              {"compression", l.compression}});
    text += fmt::format("  {:<14} {} x {}, downsample {:.5g}, {} of {} x {}, {}\n", fmt::format("level {}", json["levels"].size() - 1),
                        l.width, l.height, l.downsample, s.by_rows() ? "rows" : "tiles", l.tile_width, l.tile_height, l.compression);
  }
  json["mpp"] = s.mpp() > 0 ? JsonOut(s.mpp()) : JsonOut();
  json["mpp_from"] = s.mpp_from();
  for (const MppClaim& c : s.mpp_claims()) json["mpp_sources"][c.from] = {c.x, c.y};
  if (s.mpp() > 0) {
    text += fmt::format("  {:<14} {:.6g} microns per pixel ({})\n", "scale", s.mpp(), s.mpp_from());
    text += fmt::format("  {:<14} {:.4g} x {:.4g} mm\n", "size", double(s.width()) * s.mpp() / 1000, double(s.height()) * s.mpp() / 1000);
  } else {
    json["problem"] = s.mpp_problem();
    text += fmt::format("  {:<14} {}\n", "problem", s.mpp_problem());
  }
  if (s.mpp() > 0) {
    try {
      const double share = tissue_of(s, TissueFlags{}).share();
      json["tissue_share"] = share;
      text += fmt::format("  {:<14} {:.2f} % of the slide\n", "tissue", 100 * share);
    } catch (const Error& e) {
      if (e.code() != Exit::data) throw;
      json["problem"] = std::string(e.what());
      text += fmt::format("  {:<14} {}\n", "problem", e.what());
    }
  }
  json["warnings"] = s.warnings(), json["notes"] = s.notes();
  for (const std::string& w : s.warnings()) text += fmt::format("  {:<14} {}\n", "warning", w);
  for (const std::string& n : s.notes()) text += fmt::format("  {:<14} {}\n", "note", n);
  if (terminal::settings().json) print_json(json);
  else terminal::result(text);
}

}  // namespace stflow
