// What every family of image encoders reads from its file in the same way: numbers of the metadata, shapes, parameters by name.
#pragma once
#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/module.h"
#include "engine/weights.h"

namespace stflow {

/// What a network sees: square images of `image` pixels a side, scaled to [0, 1], minus mean, by std.
struct ImageInput {
  int64_t image = 224;
  std::array<float, 3> mean{0.485f, 0.456f, 0.406f}, std{0.229f, 0.224f, 0.225f};
};
/// Sets what the metadata gives of `image_size`, `mean` and `std` ("r,g,b"). Throws Exit::data.
void read_image_input(const Weights& file, ImageInput& input);
/// The metadata that read_image_input() reads back.
std::map<std::string, std::string> metadata_of(const ImageInput& input);

/// A metadata value as `count` numbers separated by commas; throws Exit::data.
std::vector<double> meta_numbers(const Weights& file, const std::string& key, size_t count);
/// A metadata value as a whole number from 1 to 1,000,000; throws Exit::data.
int64_t meta_positive(const Weights& file, const std::string& key);
/// Sets `eps` if the metadata has it; throws Exit::data unless it is a number >= 0.
void read_eps(const Weights& file, float& eps);
/// A tensor's shape; throws Exit::data unless it has `rank` dimensions, all positive.
std::vector<int64_t> shape_of(const Weights& file, const std::string& name, size_t rank);
/// The side of a square of n, -1 if n is no square.
int64_t square_root(int64_t n);

/// Fills the parameters of `set` (allocated) but for packed ones from the tensors of their names; `other`, where given, may fill one itself
/// and say so by returning true. Throws Exit::data naming every missing and every surplus tensor; `network` ("ViT") is named in that line.
void load_parameters(const Weights& file, const ParameterSet& set, const char* network,
                     const std::function<bool(const Parameter&)>& other = nullptr);

}  // namespace stflow
