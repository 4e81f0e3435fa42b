// One function for each format that is read from memory: takes any bytes, and either comes back or shows a fault. libFuzzer calls them
// without end (`make fuzz`), the tests with the corpus and with everything that once was a fault.
#pragma once
#include <string_view>

namespace stflow::test {

void fuzz_safetensors(std::string_view bytes);
/// A zip archive, and what it holds if that is a checkpoint.
void fuzz_zip(std::string_view bytes);
/// A pickle as the data.pkl of a checkpoint with two storages; or a whole file of torch.save() before 1.6.
void fuzz_pickle(std::string_view bytes);
/// JSON, compared with the library's own parser; and as the index of weights in several files.
void fuzz_json(std::string_view bytes);
/// Outlines of tissue, plain or gzip, and the mask of them.
void fuzz_geojson(std::string_view bytes);

/// A text matrix of 5 genes and 4 spots, and the lists beside it.
void fuzz_mtx(std::string_view bytes);
/// A table of positions, with and without a header.
void fuzz_positions(std::string_view bytes);

/// The directories of a TIFF file.
void fuzz_tiff(std::string_view bytes);

}  // namespace stflow::test
