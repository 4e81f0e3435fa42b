// The safetensors container (https://github.com/huggingface/safetensors): 8 bytes N, a JSON header of N bytes, the data.
// Weights, golden numbers, checkpoints and cached features are all stored this way.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/tensor.h"
#include "engine/weights.h"

namespace stflow {

/// A checked, mapped file. Every rule of the format is checked at opening: size, header inside the file and at most
/// 100,000,000 bytes, JSON object, no key twice, known dtypes, products without overflow, data without holes or overlap that
/// ends where the file ends. Throws Exit::missing, or Exit::data "<file>: byte <n>: ...".
class SafeTensors : public Weights {
 public:
  explicit SafeTensors(const std::string& path) : SafeTensors(std::make_shared<const FileView>(path)) {}
  explicit SafeTensors(const std::shared_ptr<const FileView>& file);

  /// Compares the file with the SHA-256 that write_safetensors() put into it: any flipped bit is found.
  /// Throws Exit::data if it differs or if there is none.
  void verify() const;

 private:
  std::shared_ptr<const FileView> file_;
  int64_t data_bytes_ = 0;
};

/// A tensor to write: converted to `stored` on the way.
struct OutTensor {
  StoredTensor source;
  Stored stored;
  OutTensor(std::string name, const Tensor& value);  // f32, f64 or i32, as it is
  OutTensor(std::string name, const Tensor& value, Stored s) : OutTensor(std::move(name), value) { stored = s; }
  OutTensor(StoredTensor t, Stored s) : source(std::move(t)), stored(s) {}
};

/// Writes the file atomically (FileWriter), data aligned to their element size, with "sha256" added to `metadata`.
/// Floating types convert among each other, i32 is stored as I32 or I64, every other type as it is.
void write_safetensors(const std::string& path, std::vector<OutTensor> tensors, std::map<std::string, std::string> metadata = {});

}  // namespace stflow
