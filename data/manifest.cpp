#include "data/manifest.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "data/spatial/layouts.h"
#include "data/spatial/tenx.h"
#include "data/table.h"
#include "engine/file.h"
#include "engine/nearest.h"
#include "engine/text.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kColumns = {"sample", "image", "counts", "spots", "mpp", "patient", "split", "embeddings"};

/// A sample names output files, so it has to be fit for one.
bool is_file_name(std::string_view s) {
  return !s.empty() && s.size() <= 200 && s != "." && s != ".." && s.find_first_of("/\\\0", 0, 3) == std::string_view::npos;
}

/// `stem` with the first of the given endings that exists; "" if none does.
std::string first_of(const fs::path& folder, const std::string& stem, std::initializer_list<const char*> endings) {
  for (const char* e : endings)
    if (fs::path p = folder / (stem + e); fs::is_regular_file(p)) return p.string();
  return "";
}

/// Names of the entries of a folder, sorted: no order of the file system shows.
std::vector<std::string> entries(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

/// The part of `name` between prefix and suffix, if it has both and something between them.
std::optional<std::string> middle(const std::string& name, std::string_view prefix, std::string_view suffix) {
  if (name.size() <= prefix.size() + suffix.size() || !name.starts_with(prefix) || !name.ends_with(suffix)) return {};
  return name.substr(prefix.size(), name.size() - prefix.size() - suffix.size());
}

/// Adds the section if it has all its files, else a warning that names what it lacks.
void add(Layout& layout, Source source) {
  std::string lacks = source.image.empty() ? "image" : source.counts.empty() ? "counts table" : "";
  if (lacks.empty()) layout.sources.push_back(std::move(source));
  else layout.warnings.push_back(fmt::format("{}: no {}, left out", source.sample, lacks));
}

/// The image of a her2st section: the only picture in ST-imgs/<patient>/<sample>/.
std::string her2st_image(const fs::path& root, const std::string& sample) {
  for (const auto& patient : entries(root / "ST-imgs"))
    for (const auto& name : entries(root / "ST-imgs" / patient / sample))
      if (name.ends_with(".jpg") || name.ends_with(".jpeg") || name.ends_with(".png"))
        return (root / "ST-imgs" / patient / sample / name).string();
  return "";
}

/// The file that a cell names.
std::string file_in(const Table& table, size_t column, const std::string& manifest, bool folders = false) {
  if (table.cell(column).empty()) table.refuse(column, "empty, expected a path");
  std::string full = (fs::path(folder_of(manifest)) / std::string(table.cell(column))).lexically_normal().string();
  if (!fs::is_regular_file(full) && !(folders && fs::is_directory(full)))
    fail(Exit::missing, "{}: No such file, expected the '{}' of line {} of {}", full, table.header()[column], table.line(), manifest);
  return full;
}

/// Image, counts and spots; an .h5ad file and a folder of Space Ranger need no more than their own path.
void read_files(const Table& table, Source& s, const std::string& manifest) {
  const size_t image = table.column("image"), counts = table.column("counts"), spots = table.column("spots");
  if (!table.cell(image).empty()) s.image = file_in(table, image, manifest);
  s.counts = file_in(table, counts, manifest, true);
  const bool h5ad = s.counts.ends_with(".h5ad");
  std::vector<std::string> choices;
  Source outs;
  const bool tenx = fs::is_directory(s.counts) && find_tenx(s.counts, outs, choices);
  if (!choices.empty()) table.refuse(counts, choices[0]);
  if (tenx) s.counts = outs.counts, s.spots = outs.spots;
  else if (h5ad) s.spots = s.counts;
  if (s.spots.empty() || !table.cell(spots).empty()) s.spots = file_in(table, spots, manifest);
  if (!tenx && !h5ad && !s.counts.ends_with(".h5") && s.image.empty()) s.image = file_in(table, image, manifest);
}

}  // namespace

std::vector<Source> read_manifest(const std::string& path) {
  FileView file(path);
  Table table(file.text(), path, ',');
  for (size_t i = 0; i < table.header().size(); i++) {
    const std::string& name = table.header()[i];
    if (std::find(kColumns.begin(), kColumns.end(), name) == kColumns.end())
      table.refuse(i, fmt::format("unknown column, expected one of {}; the nearest is {}", listed(kColumns), nearest(name, kColumns)));
    if (size_t(table.find(name)) != i) table.refuse(i, "column a second time, expected each once");
  }
  const size_t sample = table.column("sample");
  for (const char* needed : {"image", "counts", "spots"}) static_cast<void>(table.column(needed));
  const int mpp = table.find("mpp"), patient = table.find("patient"), split = table.find("split"), embeddings = table.find("embeddings");
  std::vector<Source> sources;
  while (table.next()) {
    Source s;
    s.sample = std::string(table.cell(sample));
    if (!is_file_name(s.sample)) table.refuse(sample, shown(s.sample) + ", expected a name that can be part of a file name");
    for (const auto& o : sources)
      if (o.sample == s.sample) table.refuse(sample, shown(s.sample) + " a second time, expected each sample once");
    read_files(table, s, path);
    if (embeddings >= 0 && !table.cell(size_t(embeddings)).empty()) s.embeddings = file_in(table, size_t(embeddings), path);
    if (patient >= 0) s.patient = std::string(table.cell(size_t(patient)));
    if (mpp >= 0 && !table.cell(size_t(mpp)).empty()) {
      s.mpp = table.number(size_t(mpp));
      if (!(s.mpp >= 0.05 && s.mpp <= 10))
        table.refuse(size_t(mpp), shown(table.cell(size_t(mpp))) + ", expected 0.05 to 10 microns per pixel");
    }
    if (split >= 0) {
      std::string_view word = table.cell(size_t(split));
      auto known = [&](Split k) { return word == name_of(k); };
      s.split = known(Split::train) ? Split::train : known(Split::val) ? Split::val : known(Split::test) ? Split::test : Split::none;
      if (s.split == Split::none && !word.empty()) table.refuse(size_t(split), shown(word) + ", expected train, val or test");
    }
    sources.push_back(std::move(s));
  }
  if (sources.empty()) fail(Exit::data, "{}: line {}: no sections, expected rows after the header", path, table.line());
  return sources;
}

bool is_section_file(const std::string& path) { return path.ends_with(".h5ad") || path.ends_with("feature_bc_matrix.h5"); }

Layout section_file(const std::string& path) {
  Layout layout;
  Source s;
  s.sample = fs::path(path).stem().string();
  s.counts = s.spots = path;
  if (path.ends_with(".h5ad")) return {"h5ad", {s}, {}};
  if (!find_tenx(folder_of(path), s, layout.warnings))
    fail(Exit::data, "{}: no folder 'spatial' beside it, expected Space Ranger's outputs", path);
  s.counts = path;
  return {"Space Ranger", {s}, {}};
}

bool is_data_set(const std::string& folder) {
  const fs::path root(folder);
  const auto names = entries(root);
  Layout spatial;
  return fs::exists(root / "manifest.csv") || fs::exists(root / "ST-spotfiles") ||
         std::any_of(names.begin(), names.end(), [](const std::string& n) { return middle(n, "alignment_table_", ".tsv").has_value(); }) ||
         find_spatial(folder, spatial);
}

Layout recognise(const std::string& folder) {
  const fs::path root(folder);
  if (!fs::is_directory(root)) fail(Exit::missing, "{}: no such folder, expected a data set", folder);
  Layout layout;
  if (fs::is_regular_file(root / "manifest.csv")) {
    layout.name = "manifest";
    layout.sources = read_manifest((root / "manifest.csv").string());
    return layout;
  }
  layout.name = "her2st";
  for (const auto& name : entries(root / "ST-spotfiles"))
    if (auto s = middle(name, "", "_selection.tsv"))
      add(layout, {*s, her2st_image(root, *s), first_of(root / "ST-cnts", *s, {".tsv.gz", ".tsv"}), (root / "ST-spotfiles" / name).string(),
                   "", ""});
  if (layout.sources.empty() && layout.warnings.empty()) {
    layout.name = "alignment tables";
    for (const auto& name : entries(root))
      if (auto s = middle(name, "alignment_table_", ".tsv"))
        add(layout,
            {*s, first_of(root, *s, {".jpg", ".jpeg", ".png"}), first_of(root, *s, {".tsv.gz", ".tsv"}), (root / name).string(), "", ""});
  }
  if (layout.sources.empty() && layout.warnings.empty()) find_spatial(folder, layout);
  if (layout.sources.empty())
    fail(
        Exit::data,
        "{}: {}, expected manifest.csv, or ST-cnts/, ST-spotfiles/ and ST-imgs/, or <S>.tsv, alignment_table_<S>.tsv and <S>.jpg, or Space "
        "Ranger's outs, HEST's st/ or adata/, STImage's coord/, or .h5ad files",
        folder,
        layout.warnings.empty() ? "no data set recognised" : fmt::format("no section has all its files ({})", listed(layout.warnings, 3)));
  return layout;
}

}  // namespace stflow
