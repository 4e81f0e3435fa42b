// A patch encoder: a network with everything that its features depend on.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "model/network.h"

namespace stflow {

/// How an encoder's matrices are held in memory. On the CPU a product expands 16-bit ones to float32 in the cache; with int8 the blocks'
/// products are of integers, activations rounded too (ops/gemm_int8.h). On a GPU bf16 is Products::bf16, where activations are rounded
/// too, tf32 is Products::tf32, and f16 and int8 are not to be had. Norms, LayerScale, embeddings and convolutions are float32 always.
enum class Precision { stored, f32, f16, bf16, int8, tf32 };  // stored: as the file has them
/// The context in which an encoder of this precision runs. Throws Exit::usage for one that the device has not.
Context context_of(Precision precision, Context context);

class Encoder {
 public:
  /// Loads a canonical file (model/key_maps.h; `microns` in its metadata is the side of a patch in tissue). On the CPU the packed matrices
  /// are the only copy. `threads` do not matter: set_thread_count(); nor does `batch`, how many images are taken at a time (0: some for
  /// each thread, which computes them alone, 32 on a GPU). Throws Exit::data, or Exit::usage for a precision that the device has not.
  explicit Encoder(const Weights& file, Context context = {}, Precision precision = Precision::stored, int64_t batch = 0);
  /// Likewise a safetensors file with names that key_style() knows. Throws Exit::missing or Exit::data.
  explicit Encoder(const std::string& path, Context context = {}, Precision precision = Precision::stored);
  /// Random weights: for measurements, and as the encoder to beat. Stored is float32.
  Encoder(const NetworkConfig& config, double microns, uint64_t seed, Context context = {}, Precision precision = Precision::stored);
  Encoder(Encoder&&) noexcept;
  ~Encoder();

  [[nodiscard]] NetworkConfig config() const;
  [[nodiscard]] int64_t dim() const;     // features per patch
  [[nodiscard]] int size() const;        // pixels of a patch
  [[nodiscard]] double microns() const;  // its side in tissue; 0 if the file does not say
  [[nodiscard]] int64_t batch() const;   // images that are taken at a time
  /// What two encoders must share for their features to be the same: for cache keys and model files. "weights" is the SHA-256
  /// of the checkpoint's bytes or "random:<seed>"; sizes, pooling and pixel scale beside it, and "precision" where it rounds
  /// (f16 weights held as f32 are the same numbers).
  [[nodiscard]] const std::map<std::string, std::string>& identity() const;

  /// Features (n, dim()) of n patches (size, size, 3), 8-bit RGB. The same bytes for a patch whatever its neighbours;
  /// on a GPU within rounding, as cuBLASLt adds in an order that depends on how many there are.
  void embed(const uint8_t* rgb, int64_t n, float* features);

  /// The same in halves, so that a GPU computes one batch while the next is brought. begin() puts the first n <= batch() patches of room()
  /// (pinned, for a GPU) to work, and room() is another from then on; finish() waits for the features (n, dim()) of the batch begun first,
  /// which stay until ahead() more are begun. At most ahead() are begun and not finished, 2 on a GPU; on a CPU 1, done by begin().
  [[nodiscard]] uint8_t* room();
  void begin(int64_t n);
  const float* finish();
  [[nodiscard]] int64_t ahead() const;
  [[nodiscard]] int64_t begun() const;  // and not finished

 private:
  struct Program;
  std::unique_ptr<Program> program_;
};

}  // namespace stflow
