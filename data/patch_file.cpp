#include "data/patch_file.h"

#include <algorithm>

#include "data/answer.h"
#include "data/coordinates.h"
#include "data/hdf5_file.h"
#include "engine/text.h"

namespace stflow {
namespace {

constexpr int64_t kMostSide = 4096;

std::string read_header(const std::string& path) {
  const Hdf5File file(path);
  const std::string data = file.has("img") || !file.has("imgs") ? "img" : "imgs";
  if (!file.has(data)) {
    if (file.has("coords"))
      fail(Exit::data, "{}: coordinates without pixels, expected patches; embed the image and name this file with --coords", path);
    fail(Exit::data, "{}: found {}, expected a dataset 'img' with patches", path, file.names().empty() ? "nothing" : listed(file.names()));
  }
  const auto shape = file.shape(data);
  if (shape.size() != 4 || shape[1] != shape[2] || shape[3] != 3 || shape[1] < 1 || shape[1] > kMostSide)
    fail(Exit::data, "{}: dataset '{}': {} dimensions{}, expected (patches, side, side, 3) bytes", path, data, shape.size(),
         shape.size() == 4 ? fmt::format(", {} x {} x {} each", shape[1], shape[2], shape[3]) : "");
  int64_t rows = 0, axes = 0;
  std::vector<double> coords;
  if (file.has("coords")) {
    coords = file.matrix<double>("coords", rows, axes);
    if (rows != shape[0] || axes != 2)
      fail(Exit::data, "{}: dataset 'coords': {} x {} values, expected {} x 2", path, rows, axes, shape[0]);
  }
  std::vector<std::string> names;
  for (const char* key : {"barcode", "barcodes"})
    if (names.empty() && file.has(key)) names = file.strings(key);
  if (!names.empty() && int64_t(names.size()) != shape[0])
    fail(Exit::data, "{}: {} barcodes, expected {} as there are patches", path, names.size(), shape[0]);
  std::string answer;
  append(answer, data);
  append(answer, shape);
  append(answer, names);
  append(answer, coords);
  return answer;
}

}  // namespace

PatchFile open_patch_file(const std::string& path) {
  const std::string answer = read_hdf5(path, [&] { return read_header(path); });
  Answer rest(answer, path);
  PatchFile f;
  f.path = path;
  f.dataset = rest.text();
  const auto shape = rest.take<int64_t>();
  check(shape.size() == 4, "{}: a shape of {} numbers", path, shape.size());
  f.count = shape[0], f.side = shape[1];
  f.names = rest.texts();
  f.coords = rest.take<double>();
  if (f.count < 1) fail(Exit::data, "{}: dataset '{}': no patches, expected at least one", path, f.dataset);
  if (f.names.empty()) f.names = names_from(f.coords, f.count);
  check_names(f.names, path);
  return f;
}

std::vector<Image> read_patches(const PatchFile& file, int64_t first, int64_t count) {
  const std::string bytes = read_hdf5(file.path, [&] { return Hdf5File(file.path).bytes(file.dataset, first, count); });
  const auto each = size_t(file.side * file.side * 3);
  if (bytes.size() != each * size_t(count))
    fail(Exit::data, "{}: dataset '{}': {} bytes for {} patches, expected {}", file.path, file.dataset, bytes.size(), count,
         each * size_t(count));
  std::vector<Image> all;
  for (size_t i = 0; i < size_t(count); i++) {
    const auto begin = bytes.begin() + int64_t(i * each);
    all.push_back({file.side, file.side, {begin, begin + int64_t(each)}});
  }
  return all;
}

}  // namespace stflow
