#include "tools/embed_inputs.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "data/coordinates.h"
#include "data/manifest.h"
#include "data/patch_file.h"
#include "engine/file.h"
#include "engine/text.h"
#include "tools/encoder/slide_job.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostTile = 4096;  // pixels of a tile image's longer side

std::string stem(const std::string& path) { return fs::path(path).stem().string(); }

bool is_image(const std::string& name) { return name.ends_with(".jpg") || name.ends_with(".jpeg") || name.ends_with(".png"); }
bool is_hdf5(const std::string& name) { return name.ends_with(".h5") || name.ends_with(".hdf5"); }

/// Files of a folder whose names are right, by name.
std::vector<std::string> files_in(const std::string& folder, bool (*wanted)(const std::string&)) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error))
    if (wanted(entry.path().filename().string()) && entry.is_regular_file(error)) paths.push_back(entry.path().string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

EmbeddingHeader header_of(const std::string& sample, const PatchEncoder& encoder) {
  EmbeddingHeader h;
  h.sample = sample, h.dim = encoder.dim(), h.origin = encoder.origin();
  return h;
}

/// Patches of that many pixels, and of that many microns if a pixel's size is known.
void set_scale(EmbeddingHeader& h, const std::string& pixels, double microns) {
  h.origin["patch"] = pixels;
  if (microns > 0) h.origin["microns"] = fmt::format("{}", microns);
}

void add(EmbedInputs& inputs, PatchJob job, EmbeddingHeader header) {
  inputs.jobs.push_back(std::move(job));
  inputs.headers.push_back(std::move(header));
}

/// The spots whose patches lie on tiles that cannot be decoded.
void leave_out(EmbedInputs& inputs, Section& s, const SlideImage& slide, int64_t side, int size) {
  std::vector<std::string> missing;
  static_cast<void>(leave_out_bad(s, slide, side, size, missing));
  if (!missing.empty()) inputs.missing[s.sample()] = missing;
}

void add_section(EmbedInputs& inputs, const PatchSpec& spec, bool skip_bad, EmbeddingHeader h) {
  Section& s = inputs.sections.back();
  const std::shared_ptr<const SlideImage> slide = skip_bad ? tiled_image(s, true) : nullptr;
  if (slide) leave_out(inputs, s, *slide, patch_side(s, spec), spec.size);
  h.names = s.spots, h.xy = s.xy;
  h.patch = spec.size, h.side = double(patch_side(s, spec)), h.mpp = s.mpp, h.width = s.width, h.height = s.height;
  add(inputs, section_job(s, spec, {}, {}, slide), std::move(h));
}

void add_data_set(EmbedInputs& inputs, const std::string& path, const DataFlags& flags, const SlideFlags& slides,
                  const PatchEncoder& encoder) {
  DataOptions reading = flags.reading();
  reading.values = Values::any;  // nobody looks at them
  Dataset data = open_dataset(path, reading);
  for (const std::string& w : data.warnings) terminal::warn("{}", w);
  inputs.one = data.sections.size() == 1;
  for (Section& s : data.sections) {
    s.counts.clear(), s.genes.clear();  // held for nothing
    inputs.sections.push_back(std::move(s));
    add_section(inputs, encoder.scaled_spec(), slides.bad_tiles == "skip", header_of(inputs.sections.back().sample(), encoder));
  }
}

/// A grid over the slide's tissue, without a file that says where patches are to be cut.
Coordinates places_of(const SlideImage& slide, const std::string& coordinates, const TissueFlags& tissue, const PatchEncoder& encoder) {
  if (!coordinates.empty()) return read_coordinates(coordinates);
  Places places = places_on(slide, tissue, encoder.scaled_spec().microns);
  return {std::move(places.names), std::move(places.xy), 0, 0};
}

void add_image(EmbedInputs& inputs, const std::string& image, const std::string& coordinates, const DataFlags& flags,
               const SlideFlags& slides, const TissueFlags& tissue, const PatchEncoder& encoder) {
  std::shared_ptr<const SlideImage> slide = std::make_shared<const SlideImage>(image, slides.reading(flags.options.mpp));
  const Coordinates places = places_of(*slide, coordinates, tissue, encoder);
  Section s;
  s.source.sample = stem(image), s.source.image = image, s.source.spots = coordinates;
  s.width = slide->width(), s.height = slide->height();
  s.spots = places.names, s.xy = places.xy, s.mpp = slide->mpp();
  std::vector<std::string> warnings = slide->warnings();
  check_coordinates(s, warnings);
  for (const std::string& w : warnings) terminal::warn("{}", w);
  if (s.mpp > 0) terminal::info("{}: {:.6g} microns per pixel ({})", image, s.mpp, slide->mpp_from());
  // The file may say how many pixels a patch has; then only its scale may be unknown.
  const bool sized = places.side > 0;
  if (!sized) static_cast<void>(slide->known_mpp());
  const double mpp = s.mpp > 0 ? s.mpp : 1;
  const PatchSpec spec =
      !sized ? encoder.scaled_spec() : PatchSpec{places.side * mpp, places.size > 0 ? int(places.size) : encoder.spec().size};
  const int64_t side = std::max<int64_t>(1, std::llround(spec.microns / mpp));
  if (slides.bad_tiles == "skip" && !slide->by_rows()) leave_out(inputs, s, *slide, side, spec.size);
  EmbeddingHeader h = header_of(stem(image), encoder);
  if (sized) set_scale(h, std::to_string(spec.size), s.mpp > 0 ? spec.microns : 0);
  h.names = s.spots, h.xy = s.xy;
  h.patch = spec.size, h.side = double(side), h.mpp = s.mpp, h.width = s.width, h.height = s.height;
  inputs.sections.push_back(std::move(s));
  Section& kept = inputs.sections.back();
  if (slide->by_rows()) kept.mpp = mpp;
  PatchJob job = slide->by_rows() ? section_job(kept, spec, {}, {})
                                  : slide_job(
                                        kept.sample(), [slide] { return slide; }, kept.xy, side, spec.size);
  add(inputs, std::move(job), std::move(h));
}

/// Whether an image is a slide, over whose tissue a grid is laid, and no tile by itself.
bool is_whole_slide(const std::string& path) {
  if (is_hdf5(path) || !fs::is_regular_file(path)) return false;
  const FileView file(path);
  const std::string_view format = image_format(file.text());
  if (format.empty()) return sniff(file.text().substr(0, 512)) == "a TIFF image" || has_slide_name(path);
  if (format == "AnnData") return false;
  const ImageReader image(path);
  return std::max(image.width(), image.height()) > kMostTile;
}

void add_patches(EmbedInputs& inputs, const std::string& path, const DataFlags& flags, const PatchEncoder& encoder) {
  constexpr int64_t kPiece = 64;  // patches that are read at once: 10 MB of the usual ones
  const auto file = std::make_shared<const PatchFile>(open_patch_file(path));
  EmbeddingHeader h = header_of(stem(path), encoder);
  h.names = file->names, h.xy = file->coords, h.patch = file->side, h.mpp = flags.options.mpp;
  set_scale(h, std::to_string(file->side), double(file->side) * h.mpp);
  PatchJob job{h.sample, file->count, {}, {}, {}};
  for (int64_t first = 0; first < file->count; first += kPiece)
    job.pieces.emplace_back([file, first, count = std::min(kPiece, file->count - first)](const PatchJob::Sink& sink) {
      int64_t row = first;
      for (Image& patch : read_patches(*file, first, count)) sink(row++, std::move(patch));
    });
  add(inputs, std::move(job), std::move(h));
}

void add_tiles(EmbedInputs& inputs, const std::string& sample, const std::vector<std::string>& paths, const DataFlags& flags,
               const PatchEncoder& encoder) {
  constexpr size_t kPiece = 16;
  const ImageReader first(paths[0]);
  const int64_t width = first.width(), height = first.height();
  if (std::max(width, height) > kMostTile)
    fail(Exit::data, "{}: {} x {} pixels, expected a tile of at most {} on a side; --coords cuts patches from an image", paths[0], width,
         height, kMostTile);
  EmbeddingHeader h = header_of(sample, encoder);
  for (const std::string& path : paths) h.names.push_back(stem(path));
  check_names(h.names, sample);
  set_scale(h, width == height ? std::to_string(width) : fmt::format("{}x{}", width, height), double(width) * flags.options.mpp);
  PatchJob job{sample, int64_t(paths.size()), {}, {}, {}};
  for (size_t begin = 0; begin < paths.size(); begin += kPiece)
    job.pieces.emplace_back(
        [=, some = std::vector<std::string>(paths.begin() + int64_t(begin),
                                            paths.begin() + int64_t(std::min(begin + kPiece, paths.size())))](const PatchJob::Sink& sink) {
          for (size_t i = 0; i < some.size(); i++) {
            const ImageReader header(some[i]);
            if (header.width() != width || header.height() != height)
              fail(Exit::data, "{}: {} x {} pixels, expected {} x {} as the first tile", some[i], header.width(), header.height(), width,
                   height);
            sink(int64_t(begin + i), read_image(some[i]));
          }
        });
  add(inputs, std::move(job), std::move(h));
}

}  // namespace

EmbedInputs embed_inputs(const std::vector<std::string>& given, const std::string& coordinates, const DataFlags& data,
                         const SlideFlags& slides, const TissueFlags& tissue, const PatchEncoder& encoder) {
  EmbedInputs inputs;
  std::vector<std::string> paths = given;
  const std::string& first = paths.at(0);
  for (const std::string& path : paths)
    if (!fs::exists(path)) fail(Exit::missing, "{}: no such file or folder, expected something to embed", path);
  if (!coordinates.empty()) {
    if (paths.size() > 1 || fs::is_directory(first))
      fail(Exit::usage, "--coords: found {} with {}, expected one image", coordinates, paths.size() > 1 ? "several inputs" : "a folder");
    add_image(inputs, first, coordinates, data, slides, tissue, encoder);
    return inputs;
  }
  std::string sample = stem(first);
  if (paths.size() == 1 && fs::is_directory(first)) {
    const std::vector<std::string> patches = files_in(first, is_hdf5), tiles = files_in(first, is_image), all = slides_in(first);
    const bool sections = is_data_set(first), whole = !sections && patches.empty() && !all.empty() && is_whole_slide(all[0]);
    if (sections || (patches.empty() && tiles.empty() && !whole)) {
      add_data_set(inputs, first, data, slides, encoder);  // which says what it looked for
      return inputs;
    }
    sample = fs::path(first).lexically_normal().filename().string();
    if (sample.empty()) sample = fs::path(first).lexically_normal().parent_path().filename().string();
    inputs.one = patches.empty() && !whole;
    paths = !patches.empty() ? patches : whole ? all : tiles;
  } else if (paths.size() == 1 && (first.ends_with(".csv") || is_section_file(first))) {
    add_data_set(inputs, first, data, slides, encoder);
    return inputs;
  }
  if (is_whole_slide(paths[0])) {
    inputs.one = paths.size() == 1 && inputs.one;
    for (const std::string& path : paths) add_image(inputs, path, "", data, slides, tissue, encoder);
    return inputs;
  }
  const auto is_patches = [](const std::string& path) {
    return sniff(FileView(path).text().substr(0, 512)) == "an HDF5 file" || is_hdf5(path);
  };
  const auto files = std::count_if(paths.begin(), paths.end(), is_patches);
  if (files > 0 && files < int64_t(paths.size()))
    fail(Exit::usage, "{}: with {} of another kind, expected files of patches or tile images", first, paths.size() - size_t(files));
  if (files == 0) {
    add_tiles(inputs, sample, paths, data, encoder);
    return inputs;
  }
  inputs.one = inputs.one && paths.size() == 1;
  for (const std::string& path : paths) add_patches(inputs, path, data, encoder);
  std::vector<std::string> samples;
  for (const EmbeddingHeader& h : inputs.headers) samples.push_back(h.sample);
  check_names(samples, "samples");
  return inputs;
}

}  // namespace stflow
