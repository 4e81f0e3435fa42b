// A patch encoder: a network with everything that its features depend on.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "model/network.h"

namespace stflow {

class Encoder {
 public:
  /// Loads a canonical file (model/key_maps.h; `microns` in its metadata is the side of a patch in tissue).
  /// `threads` do not matter: set_thread_count(); nor does `batch`, how many images are computed together (0: as many as fit a cache).
  /// Throws Exit::data.
  explicit Encoder(const Weights& file, Context context = {}, int64_t batch = 0);
  /// Likewise a safetensors file with names that key_style() knows. Throws Exit::missing or Exit::data.
  explicit Encoder(const std::string& path, Context context = {});
  /// Random weights: for measurements, and as the encoder to beat.
  Encoder(const NetworkConfig& config, double microns, uint64_t seed, Context context = {});
  Encoder(Encoder&&) noexcept;
  ~Encoder();

  [[nodiscard]] NetworkConfig config() const;
  [[nodiscard]] int64_t dim() const;     // features per patch
  [[nodiscard]] int size() const;        // pixels of a patch
  [[nodiscard]] double microns() const;  // its side in tissue; 0 if the file does not say
  [[nodiscard]] int64_t batch() const;   // images that are computed together
  /// What two encoders must share for their features to be the same: for cache keys and model files. "weights" is the SHA-256
  /// of the checkpoint's bytes or "random:<seed>"; sizes, pooling and pixel scale beside it.
  [[nodiscard]] const std::map<std::string, std::string>& identity() const;

  /// Features (n, dim()) of n patches (size, size, 3), 8-bit RGB. The same bytes for a patch whatever its neighbours.
  void embed(const uint8_t* rgb, int64_t n, float* features);

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace stflow
