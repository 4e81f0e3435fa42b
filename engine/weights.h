// A file of named tensors, whatever its container: what a reader (safetensors here, PyTorch's in data/weights/) makes of it and what
// models load from.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/file.h"
#include "engine/tensor.h"

namespace stflow {

/// Number types of a file. The 8-bit floats are known by name and size; their elements cannot be read.
enum class Stored : uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean, f8_e4m3, f8_e5m2 };
int64_t bytes_of(Stored);
const char* name_of(Stored);  // "F64", "BF16", "BOOL"...
inline bool is_float(Stored s) { return s <= Stored::bf16; }
/// The type of this name in safetensors ("BF16"); false if there is none.
bool stored_named(const std::string& name, Stored& type);

/// A tensor inside a mapped file. `data` may be unaligned and its elements apart: read it through convert().
struct StoredTensor {
  std::string name;
  Stored type = Stored::f32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;         // in elements, one per dimension; none: row-major without gaps
  const unsigned char* data = nullptr;  // the first element
  int64_t size = 0;                     // elements

  /// "(3, 4)", for messages.
  [[nodiscard]] std::string shape_text() const;
  /// True if the elements lie one after another in row-major order.
  [[nodiscard]] bool contiguous() const;
};

/// Elements [begin, end), counted in row-major order, as numbers of type `to` (bytes_of(to) each) at `out`. Floats round to nearest even;
/// integers become floats, but only whole numbers that fit become integers: Exit::data naming `file` and the element otherwise, and for
/// an 8-bit float.
void convert(const StoredTensor& t, int64_t begin, int64_t end, Stored to, void* out, const std::string& file);

/// Named tensors with the files that they are in. Copies share the files. A reader fills one by add(); so does code that gives a
/// foreign file's tensors other names:
///   Weights timm = foreign.without_tensors();
///   StoredTensor t = foreign.at("embeddings.cls_token"); t.name = "cls_token"; timm.add(t);          // a view, nothing is copied
///   timm.add_concatenated("blocks.0.attn.qkv.weight", {&q, &k, &v});                                 // owns its bytes
///   timm.add_values("pos_embed", {1, 256, 1024}, values);                                            // owns its bytes
class Weights {
 public:
  /// `container` for messages: "safetensors", "PyTorch zip"...
  Weights(std::string path, std::string container) : path_(std::move(path)), container_(std::move(container)) {}

  /// The file (or folder, or index of several files) that was opened, for messages.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::string& container() const { return container_; }
  [[nodiscard]] const std::vector<StoredTensor>& tensors() const { return tensors_; }  // in the order in which they were added
  /// Texts beside the tensors: safetensors' __metadata__ by its own keys; of a config.json beside the file every number, string, truth
  /// value and list of these as "config.<key>.<key>" (lists joined by commas).
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// What the reader left aside, for whoever looks into the file: "optimizer_states: 12 tensors", "object of numpy.dtype".
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  /// SHA-256 of the bytes of the file; of several files, of the text of their hashes in the order they were added. Reads all of them.
  [[nodiscard]] std::string sha256() const;
  /// Bytes of the files.
  [[nodiscard]] uint64_t file_bytes() const;

  /// Null if there is none of this name.
  [[nodiscard]] const StoredTensor* find(const std::string& name) const;
  /// As find(); throws Exit::data naming the tensor.
  [[nodiscard]] const StoredTensor& at(const std::string& name) const;
  /// The metadata value; throws Exit::data if there is none of this name.
  [[nodiscard]] const std::string& meta(const std::string& key) const;
  /// All elements of a tensor as T (float, double, int32_t or int64_t); throws Exit::data for an integer T that cannot hold them.
  template <class T> [[nodiscard]] std::vector<T> read(const std::string& name) const;
  /// Fills `out` (in the memory of `device`); throws Exit::data naming both shapes when they differ.
  void read_into(const std::string& name, const Tensor& out, Device device = Device::cpu) const;
  /// The tensor's bytes leave this process's memory: for whoever goes through files that are larger than what may be resident.
  void forget(const std::string& name) const;

  /// Adds a view; its bytes must belong to a file or to memory that this object keeps. Throws Exit::data if the name is there already.
  void add(StoredTensor t);
  /// Adds float32 numbers, shape's product of them.
  void add_values(const std::string& name, std::vector<int64_t> shape, const std::vector<float>& values);
  /// Adds the parts one after another along their first dimension; throws Exit::data unless type and other dimensions agree.
  void add_concatenated(const std::string& name, const std::vector<const StoredTensor*>& parts);
  void keep(std::shared_ptr<const FileView> file) { files_.push_back(std::move(file)); }
  /// Takes over another object's files, tensors, metadata and notes.
  void absorb(const Weights& other);
  void set_metadata(const std::string& key, std::string value) { metadata_[key] = std::move(value); }
  void set_container(std::string container) { container_ = std::move(container); }
  void note(std::string line) { notes_.push_back(std::move(line)); }
  /// The same path, files, memory, metadata and notes without a tensor: the start of a renamed one.
  [[nodiscard]] Weights without_tensors() const;

 private:
  std::string path_, container_;
  std::vector<std::shared_ptr<const FileView>> files_;
  std::vector<std::shared_ptr<const std::vector<unsigned char>>> memory_;
  std::vector<StoredTensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::vector<std::string> notes_;
  std::map<std::string, size_t> index_;
};

}  // namespace stflow
