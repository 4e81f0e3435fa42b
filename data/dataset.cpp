#include "data/dataset.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "data/embeddings.h"
#include "data/patches.h"
#include "data/slide/slide.h"
#include "data/spatial/read.h"
#include "engine/error.h"
#include "engine/file.h"
#include "engine/hash.h"
#include "engine/nearest.h"
#include "engine/text.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

/// The user's --train, --val and --test, else the manifest's, else the last section is the test section.
void split(Dataset& d, const DataOptions& options) {
  std::vector<std::string> names;
  for (const auto& s : d.sections) names.push_back(s.sample());
  bool chosen = !options.train.empty() || !options.val.empty() || !options.test.empty();
  if (chosen)
    for (auto& s : d.sections) s.source.split = options.train.empty() ? Split::train : Split::none;
  auto assign = [&](const std::vector<std::string>& samples, Split to) {
    for (const auto& name : samples) {
      auto it = std::find(names.begin(), names.end(), name);
      if (it == names.end())
        fail(Exit::usage, "--{}: {}, expected a sample of {}; the nearest is {}", name_of(to), shown(name), d.path,
             shown(nearest(name, names)));
      d.sections[size_t(it - names.begin())].source.split = to;
    }
  };
  assign(options.train, Split::train), assign(options.val, Split::val), assign(options.test, Split::test);
  bool stated = chosen || std::any_of(d.sections.begin(), d.sections.end(), [](const Section& s) { return s.split() != Split::none; });
  if (stated) return;
  for (auto& s : d.sections) s.source.split = Split::train;
  if (d.sections.size() < 2) return;
  d.sections.back().source.split = Split::test;
  d.warnings.push_back(fmt::format("no split is stated: {} is taken for the test, the others for training; --test chooses", names.back()));
}

/// One line for the few spots that are left out here and there.
void note_left_out(Dataset& d, const DataOptions& options) {
  int64_t unmatched = 0, poor = 0;
  for (const Section& s : d.sections) unmatched += s.unmatched, poor += s.poor;
  std::string what;
  if (unmatched > 0) what = fmt::format("{} are in only one of a section's files", unmatched);
  if (poor > 0) what += fmt::format("{}{} have fewer than {} counts (--min-counts)", what.empty() ? "" : ", ", poor, options.min_counts);
  if (!what.empty()) d.notes.push_back(fmt::format("spots left out: {}; -v counts them by section", what));
}

/// What a score on the test sections must not rest on.
void check_leakage(Dataset& d) {
  bool unknown = false;
  for (const Section* test : d.of(Split::test))
    for (const Section* train : d.of(Split::train)) {
      const std::string &a = train->source.patient, &b = test->source.patient;
      unknown |= a.empty() || b.empty();
      if (!a.empty() && a == b)
        fail(Exit::data, "{}: patient {} has {} for training and {} for testing, expected each patient on one side", d.path, shown(a),
             train->sample(), test->sample());
    }
  if (unknown) d.notes.push_back("no patients are stated: sections of one patient may stand on both sides of the split");

  std::vector<uintmax_t> bytes;
  std::vector<std::string> hashes(d.sections.size());
  for (const auto& s : d.sections) bytes.push_back(s.source.image.empty() ? 0 : fs::file_size(s.source.image));
  auto hash = [&](size_t i) -> const std::string& {
    if (hashes[i].empty()) hashes[i] = sha256(FileView(d.sections[i].source.image).text());
    return hashes[i];
  };
  for (size_t i = 0; i < d.sections.size(); i++)
    for (size_t j = 0; j < i; j++) {
      const Section &a = d.sections[j], &b = d.sections[i];
      if (bytes[i] > 0 && bytes[i] == bytes[j] && hash(i) == hash(j))
        d.warnings.push_back(fmt::format("{} and {} have the same image", a.sample(), b.sample()));
      if (a.genes == b.genes && a.counts == b.counts)
        d.warnings.push_back(fmt::format("{} and {} have the same counts", a.sample(), b.sample()));
    }
}

/// Spots with no or few counts.
void check_counts(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  std::vector<int64_t> rows;
  int64_t empty = 0;
  for (int64_t n = 0; n < s.size(); n++) {
    const double total = s.counts.total(n);
    empty += total == 0;
    if (total >= double(options.min_counts)) rows.push_back(n);
  }
  if (rows.empty())
    fail(Exit::data, "{}: no spot has {} counts, expected at least one; lower --min-counts", s.source.counts, options.min_counts);
  const int64_t poor = s.size() - int64_t(rows.size());
  if (20 * poor > s.size())
    warnings.push_back(
        fmt::format("{}: {} spots with fewer than {} counts are left out (--min-counts)", s.sample(), poor, options.min_counts));
  else if (poor > 0) s.poor = poor;
  else if (empty > 0)
    warnings.push_back(
        fmt::format("{}: {} spots have no counts at all and are kept as zeros; --min-counts 1 leaves them out", s.sample(), empty));
  if (poor > 0) s.keep(rows);
  if (s.size() == 1) warnings.push_back(fmt::format("{}: one spot: it has no neighbours", s.sample()));
}

}  // namespace

std::vector<const Section*> Dataset::of(Split wanted) const {
  std::vector<const Section*> found;
  for (const auto& s : sections)
    if (s.split() == wanted) found.push_back(&s);
  return found;
}

std::vector<std::string> Dataset::describe() const {
  std::vector<std::string> lines;
  for (const auto& s : sections) {
    std::string scale = s.mpp > 0 ? fmt::format("{:.4g} um per pixel ({})", s.mpp, s.mpp_from) : "scale unknown";
    std::string features = s.feature_dim > 0 ? fmt::format(", {} features", s.feature_dim) : "";
    std::string left_out = s.unmatched > 0 ? fmt::format("; {}", s.unmatched_where) : "";
    if (s.poor > 0) left_out += fmt::format("; {} with too few counts", s.poor);
    const std::string image = s.width > 0 ? fmt::format("image {} x {}", s.width, s.height) : "no image";
    lines.push_back(fmt::format("{} [{}]: {} spots, {} genes, {}, {}{}{}", s.sample(), name_of(s.split()), s.size(), s.genes.size(), image,
                                scale, features, left_out));
  }
  return lines;
}

void read_section(Section& s, const DataOptions& options, std::vector<std::string>& warnings) {
  auto open_image = [&] {
    const SlideImage image(s.source.image);
    s.width = image.width(), s.height = image.height();
    warnings.insert(warnings.end(), image.warnings().begin(), image.warnings().end());
    if (s.mpp == 0 && image.mpp() > 0) s.mpp = image.mpp(), s.mpp_from = image.mpp_from();
  };
  if (!options.image.empty()) s.source.image = options.image;
  if (!s.source.image.empty()) open_image();
  read_tables(s, options, warnings);
  if (s.width == 0 && !s.source.image.empty()) open_image();
  check_counts(s, options, warnings);
  check_coordinates(s, warnings);
  if (!options.embeddings.empty()) s.source.embeddings = (fs::path(options.embeddings) / (s.sample() + ".h5")).string();
  if (!s.source.embeddings.empty()) read_embeddings(s, options, warnings);
}

Layout layout_of(const std::string& path) {
  if (!fs::is_regular_file(path)) return recognise(path);
  if (is_section_file(path)) return section_file(path);
  return {"manifest", read_manifest(path), {}};
}

Dataset open_dataset(const std::string& path, const DataOptions& options) {
  Dataset d;
  d.path = path;
  Layout layout = layout_of(path);
  d.layout = layout.name, d.warnings = layout.warnings;
  for (auto& source : layout.sources) {
    Section s;
    s.source = std::move(source);
    d.sections.push_back(std::move(s));
  }
  if (!options.image.empty() && d.sections.size() != 1)
    fail(Exit::usage, "--image: {} has {} sections, expected one; a manifest names the image of each", path, d.sections.size());
  split(d, options);
  for (auto& s : d.sections) read_section(s, options, d.warnings);
  for (const auto& s : d.sections)
    if (s.feature_dim != d.sections[0].feature_dim)
      fail(Exit::data, "{}: {} features per spot, expected {} as in {}", s.source.embeddings.empty() ? s.sample() : s.source.embeddings,
           s.feature_dim, d.sections[0].feature_dim, d.sections[0].sample());
  note_left_out(d, options);
  check_leakage(d);
  return d;
}

}  // namespace stflow
