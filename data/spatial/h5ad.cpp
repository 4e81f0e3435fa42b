#include "data/spatial/h5ad.h"

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "engine/text.h"

namespace stflow {
namespace {

using Kind = Hdf5File::Kind;

const std::vector<Encoding> kMatrices = {{"array", 0.2}, {"csr_matrix", 0.1}, {"csc_matrix", 0.1}};

/// A dense or sparse matrix of `rows` x `columns`; -1: as the file says.
Matrix read_matrix(const Hdf5File& file, const std::string& path, const std::string& name, int64_t rows, int64_t columns) {
  const Kind kind = file.kind(name);
  if (kind == Kind::none) fail(Exit::data, "{}: '{}': not there, expected a matrix", path, name);
  std::string format = encoding_of(file, path, name, kMatrices);
  std::vector<int64_t> shape;
  if (kind == Kind::dataset) {
    shape = file.shape(name);
    if (shape.size() == 1) shape.push_back(1);
  } else {
    if (format.empty()) format = file.text(name, "h5sparse_format").value_or("") + "_matrix";
    if (format != "csr_matrix" && format != "csc_matrix")
      fail(Exit::data, "{}: '{}': a group without encoding-type, expected csr_matrix or csc_matrix", path, name);
    for (const char* key : {"shape", "h5sparse_shape"})
      for (const double n : file.numbers(name, key))
        if (n >= 0 && n < 2147483648.0) shape.push_back(int64_t(n));
  }
  if (shape.size() != 2 || (rows >= 0 && shape[0] != rows) || (columns >= 0 && shape[1] != columns)) {
    std::string found;
    for (const int64_t n : shape) found += fmt::format("{}{}", found.empty() ? "" : " x ", n);
    fail(Exit::data, "{}: '{}': {} values, expected {}", path, name, found.empty() ? "no" : found,
         rows >= 0 ? fmt::format("{} x {} as obs and var have names", rows, columns) : "two dimensions");
  }
  if (kind == Kind::dataset) return read_dense(file, name);
  return read_compressed(file, path, name, shape[0], shape[1], format == "csr_matrix");
}

void append_columns(std::string& answer, const std::map<std::string, Column>& columns) {
  append(answer, std::vector<int64_t>{int64_t(columns.size())});
  for (const auto& [name, column] : columns) append(answer, name), append(answer, column.numbers), append(answer, column.texts);
}

std::map<std::string, Column> take_columns(Answer& answer) {
  std::map<std::string, Column> columns;
  for (auto n = answer.one<int64_t>(); n > 0; n--) {
    Column& c = columns[answer.text()];
    c.numbers = answer.take<double>(), c.texts = answer.texts();
  }
  return columns;
}

std::map<std::string, Column> read_columns(const Frame& frame, const std::vector<std::string>& wanted, size_t rows,
                                           const std::string& path) {
  std::map<std::string, Column> columns;
  for (const std::string& name : wanted) {
    if (!frame.has(name)) continue;
    Column c = frame.column(name);
    if (c.size() != rows) fail(Exit::data, "{}: column {}: {} values, expected {}", path, shown(name), c.size(), rows);
    columns[name] = std::move(c);
  }
  return columns;
}

/// obsm/spatial: its first two columns.
std::vector<double> read_spatial(const Hdf5File& file, const std::string& path, size_t rows) {
  if (!file.has("obsm") || !file.has("obsm/spatial")) return {};
  int64_t found = 0, axes = 0;
  const auto all = file.matrix<double>("obsm/spatial", found, axes);
  if (found != int64_t(rows) || axes < 2)
    fail(Exit::data, "{}: dataset 'obsm/spatial': {} x {} values, expected {} x 2", path, found, axes, rows);
  std::vector<double> xy;
  for (size_t i = 0; i < rows; i++) xy.push_back(all[i * size_t(axes)]), xy.push_back(all[i * size_t(axes) + 1]);
  return xy;
}

std::vector<SpatialLibrary> read_libraries(const Hdf5File& file) {
  std::vector<SpatialLibrary> all;
  if (!file.has("uns") || !file.has("uns/spatial") || file.kind("uns/spatial") != Kind::group) return all;
  for (const std::string& id : file.members("uns/spatial")) {
    const std::string at = "uns/spatial/" + id;
    if (file.kind(at) != Kind::group) continue;
    SpatialLibrary& library = all.emplace_back();
    library.id = id;
    if (const std::string factors = at + "/scalefactors"; file.has(factors))
      for (const std::string& name : file.members(factors)) {
        const std::string factor = fmt::format("{}/{}", factors, name);
        if (file.kind(factor) != Kind::dataset || file.is_text(factor)) continue;
        std::vector<int64_t> dims;
        const auto values = file.array<double>(factor, dims);
        if (values.size() == 1) library.scalefactors[name] = values[0];
      }
    if (const std::string images = at + "/images"; file.has(images))
      for (const std::string& name : file.members(images)) {
        if (file.kind(fmt::format("{}/{}", images, name)) != Kind::dataset) continue;
        const auto shape = file.shape(fmt::format("{}/{}", images, name));
        if (shape.size() == 3) library.images[name] = {shape[1], shape[0]};
      }
  }
  return all;
}

std::string read_file(const std::string& path, const H5adOptions& options) {
  const Hdf5File file(path);
  if (!file.has("obs") || !file.has("var"))
    fail(Exit::data, "{}: found {}, expected obs and var: is it an .h5ad file?", path,
         file.names().empty() ? "nothing" : listed(file.names()));
  encoding_of(file, path, "/", {{"anndata", 0.1}, {"raw", 0.1}});
  const bool raw = options.layer == "raw";
  const std::string old = file.has("raw.X") ? "raw." : "raw/";  // before anndata 0.7 and since
  const Frame obs(file, path, "obs"), var(file, path, raw && file.has(old + "var") ? old + "var" : "var");
  const auto barcodes = obs.index(), genes = var.index();
  std::string answer;
  append(answer, barcodes), append(answer, genes);
  append_columns(answer, read_columns(obs, options.obs, barcodes.size(), path));
  append_columns(answer, read_columns(var, options.var, genes.size(), path));
  append(answer, read_spatial(file, path, barcodes.size()));
  const auto libraries = read_libraries(file);
  append(answer, std::vector<int64_t>{int64_t(libraries.size())});
  for (const SpatialLibrary& l : libraries) {
    std::vector<std::string> names, images;
    std::vector<double> factors;
    std::vector<int64_t> sizes;
    for (const auto& [name, value] : l.scalefactors) names.push_back(name), factors.push_back(value);
    for (const auto& [name, size] : l.images) images.push_back(name), sizes.push_back(size.first), sizes.push_back(size.second);
    append(answer, l.id), append(answer, names), append(answer, factors), append(answer, images), append(answer, sizes);
  }
  if (!options.matrix) return answer;
  const std::string name = options.layer.empty() ? "X" : raw ? old + "X" : "layers/" + options.layer;
  if (!file.has(name)) {
    const auto layers = file.has("layers") && file.kind("layers") == Kind::group ? file.members("layers") : std::vector<std::string>{};
    fail(Exit::data, "{}: no '{}', expected one of {}{}", path, name, file.has("X") ? "X" : "its layers",
         layers.empty() ? "" : ", " + listed(layers));
  }
  append(answer, name);
  append(answer, read_matrix(file, path, name, int64_t(barcodes.size()), int64_t(genes.size())));
  return answer;
}

/// (H, W, 3 or 4) of bytes, or of floats from 0 to 1.
std::string read_image_file(const std::string& path) {
  constexpr int64_t kMost = int64_t(1) << 27;
  const Hdf5File file(path);
  for (const SpatialLibrary& l : read_libraries(file)) {
    const std::string image = l.best_image(), name = "uns/spatial/" + l.id + "/images/" + image;
    if (image.empty()) continue;
    std::vector<int64_t> shape = file.shape(name);
    auto refuse = [&](const std::string& found) { fail(Exit::data, "{}: dataset '{}': {}", path, name, found); };
    if (shape.size() != 3 || (shape[2] != 3 && shape[2] != 4) || shape[0] < 1 || shape[1] < 1 || shape[0] * shape[1] > kMost)
      refuse(fmt::format("{} dimensions, {} channels, expected an image of 3 or 4 channels", shape.size(), shape.back()));
    std::vector<uint8_t> rgb;
    rgb.reserve(size_t(shape[0] * shape[1] * 3));
    const bool bytes = file.is_byte(name);
    for (int64_t y = 0; y < shape[0]; y++) {
      const std::vector<float> row = file.rows<float>(name, y, 1);
      for (size_t i = 0; i < row.size(); i++) {
        if (int64_t(i) % shape[2] == 3) continue;
        const float v = bytes ? row[i] : row[i] * 255;
        // Resampling overshoots, and who shows such an image cuts that off; what is far beyond has another scale.
        if (!(v >= -255 && v <= 510)) refuse(fmt::format("{} in row {}, expected about 0 to 1, or bytes", row[i], y));
        rgb.push_back(uint8_t(std::lround(std::clamp(v, 0.0f, 255.0f))));
      }
    }
    std::string answer;
    append(answer, std::vector<int64_t>{shape[1], shape[0]});
    append(answer, rgb);
    return answer;
  }
  fail(Exit::data, "{}: no image in uns/spatial, expected one; name the slide's image", path);
}

}  // namespace

std::string SpatialLibrary::best_image() const {
  for (const char* name : {"hires", "downscaled_fullres", "lowres"})
    if (images.contains(name)) return name;
  return images.size() == 1 ? images.begin()->first : "";
}

double SpatialLibrary::scale_of(const std::string& image) const {
  const auto it = scalefactors.find("tissue_" + image + "_scalef");
  return it == scalefactors.end() ? 0 : it->second;
}

H5ad read_h5ad(const std::string& path, const H5adOptions& options) {
  const std::string answer = read_hdf5(path, [&] { return read_file(path, options); });
  Answer rest(answer, path);
  H5ad h;
  h.barcodes = rest.texts(), h.genes = rest.texts();
  h.obs = take_columns(rest), h.var = take_columns(rest);
  h.spatial = rest.take<double>();
  for (auto n = rest.one<int64_t>(); n > 0; n--) {
    SpatialLibrary& l = h.libraries.emplace_back();
    l.id = rest.text();
    const auto names = rest.texts();
    const auto factors = rest.take<double>();
    const auto images = rest.texts();
    const auto sizes = rest.take<int64_t>();
    for (size_t i = 0; i < names.size(); i++) l.scalefactors[names[i]] = factors.at(i);
    for (size_t i = 0; i < images.size(); i++) l.images[images[i]] = {sizes.at(2 * i), sizes.at(2 * i + 1)};
  }
  if (!options.matrix) return h;
  h.matrix_name = rest.text();
  h.matrix = take_matrix(rest);
  return h;
}

FloatMatrix read_h5ad_matrix(const std::string& path, const std::string& name) {
  const std::string answer = read_hdf5(path, [&] {
    const Hdf5File file(path);
    const Matrix m = read_matrix(file, path, name, -1, -1);
    std::string out;
    append(out, std::vector<int64_t>{m.rows.rows(), m.columns});
    append(out, dense(m.rows, m.columns));
    return out;
  });
  Answer rest(answer, path);
  FloatMatrix m;
  const auto size = rest.take<int64_t>();
  check(size.size() == 2, "{}: {} sizes in an answer", path, size.size());
  m.rows = size[0], m.columns = size[1];
  m.values = rest.take<float>();
  return m;
}

std::vector<std::string> h5ad_names(const std::string& path) {
  const std::string answer = read_hdf5(path, [&] {
    const Hdf5File file(path);
    std::vector<std::string> all;
    for (const char* name : {"X", "raw/X"})
      if (file.has(name)) all.emplace_back(name);
    for (const char* group : {"layers", "obsm"})
      if (file.kind(group) == Kind::group)
        for (const std::string& name : file.members(group)) all.push_back(group + ("/" + name));
    for (const char* table : {"obs", "var"})
      for (const std::string& name : Frame(file, path, table).columns()) all.push_back(table + ("/" + name));
    std::string out;
    append(out, all);
    return out;
  });
  return Answer(answer, path).texts();
}

Image read_h5ad_image(const std::string& path) {
  const std::string answer = read_hdf5(path, [&] { return read_image_file(path); });
  Answer rest(answer, path);
  Image image;
  const auto size = rest.take<int64_t>();
  check(size.size() == 2, "{}: {} sizes in an answer", path, size.size());
  image.width = size[0], image.height = size[1];
  image.rgb = rest.take<uint8_t>();
  return image;
}

}  // namespace stflow
