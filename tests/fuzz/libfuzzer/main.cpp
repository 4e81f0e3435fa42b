// A libFuzzer program for one target: STFLOW_TARGET is its name. https://llvm.org/docs/LibFuzzer.html
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "data/weights/zip.h"
#include "engine/error.h"
#include "tests/data/weights/builders.h"
#include "tests/fuzz/targets.h"

using namespace stflow;
using namespace stflow::test;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (std::string_view(STFLOW_TARGET) == "safetensors") fuzz_safetensors(bytes);
  if (std::string_view(STFLOW_TARGET) == "zip") fuzz_zip(bytes);
  if (std::string_view(STFLOW_TARGET) == "pickle") fuzz_pickle(bytes);
  if (std::string_view(STFLOW_TARGET) == "json") fuzz_json(bytes);
  if (std::string_view(STFLOW_TARGET) == "geojson") fuzz_geojson(bytes);
  if (std::string_view(STFLOW_TARGET) == "tiff") fuzz_tiff(bytes);
  if (std::string_view(STFLOW_TARGET) == "mtx") fuzz_mtx(bytes);
  if (std::string_view(STFLOW_TARGET) == "positions") fuzz_positions(bytes);
  return 0;
}

namespace {

size_t put(const std::string& bytes, uint8_t* data, size_t size, size_t max_size) {
  if (bytes.size() > max_size || bytes.empty()) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, bytes.data(), bytes.size());
  return bytes.size();
}

std::string mutated(std::string bytes, size_t room) {
  std::vector<uint8_t> buffer(bytes.begin(), bytes.end());
  buffer.resize(bytes.size() + room);
  const size_t n = LLVMFuzzerMutate(buffer.data(), bytes.size(), buffer.size());
  return std::string(buffer.begin(), buffer.begin() + int64_t(n));
}

/// A record changed inside, with the sizes, places and CRCs that then belong to it.
size_t mutate_zip(uint8_t* data, size_t size, size_t max_size, std::minstd_rand& random) {
  try {
    const FileView file("file", {reinterpret_cast<const char*>(data), size});
    const ZipArchive zip(file);
    std::vector<ZipPart> parts;
    for (const ZipRecord& r : zip.records()) parts.push_back({std::string(r.name), std::string(r.bytes)});
    if (parts.empty()) return LLVMFuzzerMutate(data, size, max_size);
    ZipPart& one = parts[random() % parts.size()];
    switch (random() % 8) {
      case 0: one.name = mutated(one.name, 8); break;
      case 1: parts.erase(parts.begin() + int64_t(random() % parts.size())); break;
      case 2: parts.push_back({mutated(one.name, 4), one.bytes}); break;
      default: one.bytes = mutated(one.bytes, 64);
    }
    return put(test::zip(parts, random() % 4 == 0), data, size, max_size);
  } catch (const Error&) {
    return LLVMFuzzerMutate(data, size, max_size);
  }
}

/// What a pickle of a checkpoint is made of, put in somewhere.
size_t mutate_pickle(uint8_t* data, size_t size, size_t max_size, std::minstd_rand& random) {
  const int64_t a = int64_t(random() % 8) - 1, b = int64_t(random() % 8) - 1;
  const std::string store = storage(std::to_string(random() % 3), random() % 4 ? "Float" : "Half", a);
  const std::string pieces[] = {tensor(store, a, {b, 2}, {2, 1}),
                                tensor(store, 0, {}, {}),
                                store,
                                text("state_dict"),
                                text("teacher"),
                                text("x"),
                                numbers({a, b}),
                                dict({{"w", tensor(store, 0, {b}, {1})}}),
                                global("os", "system"),
                                call(global("collections", "OrderedDict"), {}),
                                "(",
                                "t",
                                "u",
                                "e",
                                "\x94",
                                "h",
                                "2"};
  std::string bytes(reinterpret_cast<const char*>(data), size);
  bytes.insert(random() % (size + 1), pieces[random() % std::size(pieces)]);
  return put(bytes, data, size, max_size);
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  if (random() % 2) {
    if (std::string_view(STFLOW_TARGET) == "zip") return mutate_zip(data, size, max_size, random);
    if (std::string_view(STFLOW_TARGET) == "pickle") return mutate_pickle(data, size, max_size, random);
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
