#include "tools/predict/inputs.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <set>
#include <unordered_map>

#include "data/coordinates.h"
#include "data/dataset.h"
#include "data/panel.h"
#include "data/patches.h"
#include "engine/text.h"
#include "tools/inspect/sections.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> slides_at(const std::string& path) {
  if (!fs::is_directory(path)) return {path};
  std::vector<std::string> found = slides_in(path);
  if (found.empty()) fail(Exit::data, "{}: no section and no slide, expected a data set or a folder of slides", path);
  return found;
}

/// Leaves out the positions of a grid that are nearer to a measured spot than half its pitch: they would be the same tissue twice.
void make_room(Places& places, const Section& known) {
  if (places.pitch <= 0) return;
  const double near = places.pitch / 2;
  std::unordered_map<int64_t, std::vector<int64_t>> cells;
  const auto cell = [&](double v) { return int64_t(std::floor(v / near)); };
  const auto key = [](int64_t x, int64_t y) { return x * 0x100000001 + y; };
  for (int64_t i = 0; i < known.size(); i++) cells[key(cell(known.xy[size_t(2 * i)]), cell(known.xy[size_t(2 * i + 1)]))].push_back(i);
  const auto taken = [&](double x, double y) {
    for (int64_t dx = -1; dx <= 1; dx++)
      for (int64_t dy = -1; dy <= 1; dy++) {
        const auto found = cells.find(key(cell(x) + dx, cell(y) + dy));
        if (found == cells.end()) continue;
        for (const int64_t i : found->second)
          if (std::hypot(known.xy[size_t(2 * i)] - x, known.xy[size_t(2 * i + 1)] - y) < near) return true;
      }
    return false;
  };
  Places kept = places;
  kept.names.clear(), kept.xy.clear(), kept.array_row.clear(), kept.array_col.clear();
  for (size_t i = 0; i < places.names.size(); i++) {
    if (taken(places.xy[2 * i], places.xy[2 * i + 1])) continue;
    kept.names.push_back(places.names[i]);
    kept.xy.push_back(places.xy[2 * i]), kept.xy.push_back(places.xy[2 * i + 1]);
    if (!places.array_row.empty()) kept.array_row.push_back(places.array_row[i]), kept.array_col.push_back(places.array_col[i]);
  }
  places = std::move(kept);
}

/// The spots of --known before those of the grid, which has no rows and columns for them.
void put_first(Places& places, const Section& known) {
  places.names.insert(places.names.begin(), known.spots.begin(), known.spots.end());
  places.xy.insert(places.xy.begin(), known.xy.begin(), known.xy.end());
  places.array_row.clear(), places.array_col.clear();
  check_names(places.names, known.sample());
}

PredictInput read_slide(const std::string& path, const InputFlags& f, double patch_microns, const Section* known) {
  PredictInput input;
  const auto slide = std::make_shared<const SlideImage>(path, f.slides.reading(f.data.options.mpp));
  for (const std::string& w : slide->warnings()) terminal::warn("{}", w);
  for (const std::string& n : slide->notes()) terminal::info("{}", n);
  input.slide = slide;
  Section& s = input.section;
  s.source.sample = fs::path(path).stem().string(), s.source.image = path;
  s.width = slide->width(), s.height = slide->height(), s.mpp = slide->known_mpp(), s.mpp_from = slide->mpp_from();
  Places& places = input.places;
  if (!f.coordinates.empty()) {
    Coordinates given = read_coordinates(f.coordinates);
    places.names = std::move(given.names), places.xy = std::move(given.xy);
  } else {
    places = places_on(*slide, f.tissue, patch_microns);
  }
  if (known) {
    make_room(places, *known);
    put_first(places, *known);
    input.measured = known->size();
  }
  input.square = f.tissue.grid == "square" && places.pitch > 0;
  s.spots = std::exchange(places.names, {}), s.xy = std::exchange(places.xy, {});
  std::vector<std::string> warnings;
  check_coordinates(s, warnings);
  for (const std::string& w : warnings) terminal::warn("{}", w);
  return input;
}

std::vector<PredictInput> read_sections(const std::string& path, const InputFlags& f) {
  std::vector<PredictInput> inputs;
  Dataset set = open_dataset(path, f.data.reading());
  for (const std::string& w : set.warnings) terminal::warn("{}", w);
  for (const std::string& n : set.notes) terminal::info("{}", n);
  for (Section& s : set.sections) {
    inputs.emplace_back();
    inputs.back().section = std::move(s);
  }
  return inputs;
}

}  // namespace

std::vector<PredictInput> read_inputs(const InputFlags& f, double patch_microns, const Section* known) {
  std::vector<PredictInput> inputs;
  for (const std::string& path : f.paths) {
    if (!fs::exists(path)) fail(Exit::missing, "{}: no such file or folder, expected a slide or sections to predict", path);
    if (is_spatial(path)) {
      if (!f.coordinates.empty()) fail(Exit::usage, "--coords: found {} with {}, expected a slide without spots", f.coordinates, path);
      for (PredictInput& i : read_sections(path, f)) inputs.push_back(std::move(i));
      continue;
    }
    for (const std::string& slide : slides_at(path)) inputs.push_back(read_slide(slide, f, patch_microns, known));
  }
  std::vector<std::string> samples;
  for (const PredictInput& i : inputs) samples.push_back(i.section.sample());
  check_names(samples, "samples");
  if (inputs.size() > 1 && (!f.coordinates.empty() || !f.tissue.tissue.empty() || !f.tissue.save_tissue.empty()))
    fail(Exit::usage, "--coords, --tissue, --save-tissue: found {} sections, expected one slide", inputs.size());
  return inputs;
}

const Section* known_of(const std::vector<Section>& known, const std::string& sample) {
  if (known.size() == 1) return known.data();
  for (const Section& s : known)
    if (s.sample() == sample) return &s;
  return nullptr;
}

std::vector<float> known_values(const Section& known, const std::vector<std::string>& spots, const std::vector<std::string>& genes) {
  std::unordered_map<std::string, int64_t> row_of;
  const std::map<std::string, int64_t> column_of = columns_of(known);
  for (size_t i = 0; i < known.spots.size(); i++) row_of.emplace(known.spots[i], int64_t(i));
  std::vector<float> values(spots.size() * genes.size(), std::numeric_limits<float>::quiet_NaN());
  int64_t found = 0, columns = 0;
  for (const std::string& g : genes) columns += int64_t(column_of.contains(g));
  for (size_t i = 0; i < spots.size(); i++) {
    const auto row = row_of.find(spots[i]);
    if (row == row_of.end()) continue;
    found++;
    for (size_t g = 0; g < genes.size(); g++)
      if (const auto column = column_of.find(genes[g]); column != column_of.end())
        values[i * genes.size() + g] = std::log1p(known.count(row->second, column->second));
  }
  if (found == 0 || columns == 0)
    fail(Exit::data, "{}: {} of {} spots and {} of {} genes known, expected names of the section that is predicted", known.sample(), found,
         spots.size(), columns, genes.size());
  terminal::info("{}: {} of {} spots are measured, {} of {} genes", known.sample(), found, spots.size(), columns, genes.size());
  return values;
}

}  // namespace stflow
