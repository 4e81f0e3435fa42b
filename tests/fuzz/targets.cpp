#include "tests/fuzz/targets.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "data/slide/tiff_directory.h"
#include "data/spatial/mex.h"
#include "data/spatial/positions.h"
#include "data/tissue/geojson.h"
#include "data/weights/open.h"
#include "data/weights/sharded.h"
#include "data/weights/torch_file.h"
#include "data/weights/zip.h"
#include "engine/json.h"
#include "engine/safetensors.h"
#include "tests/data/weights/builders.h"

namespace stflow::test {
namespace {

/// Runs a reader; a refusal must be one line about data, anything else leaves as an exception.
void guarded(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& e) {
    const std::string_view line = e.what();
    if (e.code() != Exit::data && e.code() != Exit::missing) throw;
    if (line.empty() || line.find('\n') != std::string_view::npos) throw std::logic_error("not one line");
  }
}

std::shared_ptr<const FileView> view_of(std::string_view bytes) { return std::make_shared<const FileView>("file", bytes); }

/// Reads what a model would, up to a million elements in all: strides may let a few bytes count as many.
void read_all(const Weights& w) {
  int64_t left = 1'000'000;
  for (const StoredTensor& t : w.tensors())
    if ((left -= t.size) >= 0) guarded([&] { static_cast<void>(w.read<float>(t.name)); });
}

}  // namespace

void fuzz_safetensors(std::string_view bytes) {
  guarded([&] {
    const SafeTensors w(view_of(bytes));
    read_all(w);
    w.verify();
  });
}

void fuzz_zip(std::string_view bytes) {
  guarded([&] {
    const FileView file("file", bytes);
    const ZipArchive zip(file);
    for (const ZipRecord& r : zip.records()) zip.verify(r);
  });
  guarded([&] { read_all(read_torch_zip(view_of(bytes))); });
}

void fuzz_pickle(std::string_view bytes) {
  if (is_legacy_torch(bytes)) {
    guarded([&] { read_all(read_torch_legacy(view_of(bytes))); });
    return;
  }
  const std::string whole = torch_zip(std::string(bytes), {std::string(64, '\1'), std::string(24, '\2')});
  guarded([&] { read_all(read_torch_zip(view_of(whole))); });
  if (bytes.find("teacher") != std::string_view::npos) guarded([&] { read_all(read_torch_zip(view_of(whole), "teacher")); });
}

void fuzz_json(std::string_view bytes) {
  guarded([&] {
    const Json ours = parse_json(bytes, "file");
    if (ours != Json::parse(bytes)) throw std::logic_error("another value than the library's parser gives");
  });
  guarded([&] { static_cast<void>(read_sharded(view_of(bytes))); });
}

void fuzz_mtx(std::string_view bytes) {
  guarded([&] {
    const Matrix m = read_mtx(bytes, "file", 5, 4);
    for (const int32_t c : m.rows.column)
      if (c < 0 || c >= 5) throw std::logic_error("a column beyond the matrix");
    if (m.rows.rows() != 4 || m.rows.last(3) != int64_t(m.rows.value.size())) throw std::logic_error("rows beyond the matrix");
  });
  guarded([&] { static_cast<void>(read_list(bytes, "file", 3)); });
}

void fuzz_positions(std::string_view bytes) {
  guarded([&] {
    const FoundPlaces p = read_positions(bytes, "file");
    if (p.xy.size() != 2 * p.spots.size() || (!p.grid.empty() && p.grid.size() != p.xy.size()))
      throw std::logic_error("places for other spots");
    static_cast<void>(pitch_scale(p, 0));
    Bin bin;
    for (const std::string& b : p.spots) static_cast<void>(read_bin(b, bin));
  });
}

void fuzz_geojson(std::string_view bytes) {
  guarded([&] { static_cast<void>(mask_of(parse_tissue(bytes, "file"), 64, 48, 10, "file")); });
}

void fuzz_tiff(std::string_view bytes) {
  guarded([&] {
    const FileView file("file", bytes);
    for (const TiffPage& p : read_tiff_directories(file))
      for (size_t i = 0; i < p.offsets.size(); i++)
        if (p.offsets[i] > bytes.size() || p.counts[i] > bytes.size() - p.offsets[i]) throw std::logic_error("a tile past the end");
  });
}

}  // namespace stflow::test
