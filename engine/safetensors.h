// The safetensors container (https://github.com/huggingface/safetensors): 8 bytes N, a JSON header of N bytes, the data.
// Weights, golden numbers, checkpoints and cached features are all stored this way.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/file.h"
#include "engine/tensor.h"

namespace stflow {

/// Number types of a file.
enum class Stored : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean };
int64_t bytes_of(Stored);
const char* name_of(Stored);  // "F64", "BF16", "BOOL"...

/// A tensor inside a mapped file. `data` may be unaligned: read it through convert().
struct StoredTensor {
  std::string name;
  Stored type = Stored::f32;
  std::vector<int64_t> shape;
  const unsigned char* data = nullptr;
  int64_t size = 0;  // elements

  /// "(3, 4)", for messages.
  [[nodiscard]] std::string shape_text() const;
};

/// A checked, mapped file. Every rule of the format is checked at opening: size, header inside the file and at most
/// 100,000,000 bytes, JSON object, no key twice, known dtypes, products without overflow, data without holes or overlap that
/// ends where the file ends. Throws Exit::missing, or Exit::data "<file>: byte <n>: ...".
class SafeTensors {
 public:
  explicit SafeTensors(const std::string& path);

  [[nodiscard]] const std::string& path() const { return file_.path(); }
  [[nodiscard]] const std::vector<StoredTensor>& tensors() const { return tensors_; }  // by place in the file
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// Null if the file has none of this name.
  [[nodiscard]] const StoredTensor* find(const std::string& name) const;
  /// As find(); throws Exit::data naming the tensor.
  [[nodiscard]] const StoredTensor& at(const std::string& name) const;
  /// The metadata value; throws Exit::data if the file has none of this name.
  [[nodiscard]] const std::string& meta(const std::string& key) const;
  /// All elements of a tensor as T (float, double, int32_t or int64_t); throws Exit::data for an integer T that cannot hold them.
  template <class T> [[nodiscard]] std::vector<T> read(const std::string& name) const;
  /// Fills `out` (f32, f64 or i32; in the host's memory also f16 or bf16, where the file stores that type; in the memory of `device`);
  /// throws Exit::data naming both shapes when they differ.
  void read_into(const std::string& name, const Tensor& out, Device device = Device::cpu) const;
  /// The tensor's bytes leave this process's memory: for whoever goes through a file that is larger than what may be resident.
  void forget(const std::string& name) const;
  /// Compares the file with the SHA-256 that write_safetensors() put into it: any flipped bit is found.
  /// Throws Exit::data if it differs or if there is none.
  void verify() const;

 private:
  FileView file_;
  int64_t data_bytes_ = 0;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, size_t> index_;
};

/// A tensor to write: `value` (f32, f64 or i32) is converted to `stored` on the way.
struct OutTensor {
  std::string name;
  Tensor value;
  Stored stored;
  OutTensor(std::string n, const Tensor& v);
  OutTensor(std::string n, const Tensor& v, Stored s) : name(std::move(n)), value(v), stored(s) {}
};

/// Writes the file atomically (FileWriter), data aligned to their element size, with "sha256" added to `metadata`.
/// Floating types convert among each other; i32 is stored as I32 or I64.
void write_safetensors(const std::string& path, std::vector<OutTensor> tensors, std::map<std::string, std::string> metadata = {});

}  // namespace stflow
