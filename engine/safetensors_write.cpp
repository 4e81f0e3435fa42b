// Writing safetensors, and the SHA-256 inside them.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/hash_file.h"
#include "engine/json.h"
#include "engine/safetensors.h"

namespace stflow {
namespace {

// The hash covers the whole file with these 64 digits in its own place.
const std::string kNoHash(64, '0');

Stored natural(DType t) { return t == DType::f64 ? Stored::f64 : t == DType::f32 ? Stored::f32 : Stored::i32; }

/// Calls sink(bytes, count) for the data of all tensors in order, in pieces.
template <class F> void stream(const std::vector<OutTensor>& tensors, const std::string& file, F sink) {
  constexpr int64_t kPiece = 1 << 13;
  std::vector<unsigned char> buffer(size_t(kPiece) * 8);
  for (const auto& t : tensors) {
    const int64_t bytes = bytes_of(t.stored), size = t.source.size;
    if (t.stored == t.source.type && t.source.contiguous()) {
      if (size > 0) sink(t.source.data, size_t(size * bytes));
      continue;
    }
    for (int64_t i = 0; i < size; i += kPiece) {
      const int64_t end = std::min(i + kPiece, size);
      convert(t.source, i, end, t.stored, buffer.data(), file);
      sink(buffer.data(), size_t((end - i) * bytes));
    }
  }
}

}  // namespace

OutTensor::OutTensor(std::string name, const Tensor& v)
    : source{std::move(name),
             natural(v.type),
             std::vector<int64_t>(v.shape.n, v.shape.n + v.shape.rank),
             {},
             static_cast<const unsigned char*>(v.data),
             v.size()},
      stored(source.type) {}

void write_safetensors(const std::string& path, std::vector<OutTensor> tensors, std::map<std::string, std::string> metadata) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return bytes_of(a.stored) > bytes_of(b.stored); });
  metadata["sha256"] = kNoHash;
  Json json;
  json["__metadata__"] = metadata;
  int64_t at = 0;
  for (const auto& t : tensors) {
    const Stored from = t.source.type, to = t.stored;
    const std::string& name = t.source.name;
    check(from == to || (is_float(from) && is_float(to)) || (from == Stored::i32 && to == Stored::i64), "{}: {} cannot be stored as {}",
          name, name_of(from), name_of(to));
    check(!json.contains(name), "tensor {} written twice", name);
    Json& entry = json[name];
    entry["dtype"] = name_of(to);
    entry["shape"] = t.source.shape;
    entry["data_offsets"] = {at, at + t.source.size * bytes_of(to)};
    at += t.source.size * bytes_of(to);
  }
  std::string header = json.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; i++) length[i] = char(uint64_t(header.size()) >> (8 * i) & 255);
  Sha256 hash;
  hash.add(length), hash.add(header);
  stream(tensors, path, [&](const void* data, size_t bytes) { hash.add(data, bytes); });
  header.replace(header.find("\"sha256\":\"" + kNoHash) + 10, 64, hash.hex());

  FileWriter file(path, 8 + header.size() + uint64_t(at));
  file.write(length), file.write(header);
  stream(tensors, path, [&](const void* data, size_t bytes) { file.write(data, bytes); });
  file.commit();
}

void SafeTensors::verify() const {
  const std::string& stored = meta("sha256");
  std::string_view all = file_->text();
  std::string header(all.substr(0, all.size() - size_t(data_bytes_)));
  size_t place = header.find("\"sha256\":\"" + stored);
  if (place == std::string::npos || stored.size() != 64)
    fail(Exit::data, "{}: __metadata__: sha256 '{}', expected 64 hexadecimal digits", path(), stored);
  header.replace(place + 10, 64, kNoHash);
  Sha256 hash;
  hash.add(header);
  add_file(hash, *file_, header.size());
  if (hash.hex() != stored) fail(Exit::data, "{}: sha256 differs from the one in its header, expected an undamaged file", path());
}

}  // namespace stflow
