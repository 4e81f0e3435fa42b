// Writing safetensors, and the SHA-256 inside them.
#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/half.h"
#include "engine/hash.h"
#include "engine/json.h"
#include "engine/safetensors.h"

namespace stflow {
namespace {

// The hash covers the whole file with these 64 digits in its own place.
const std::string kNoHash(64, '0');

Stored natural(DType t) { return t == DType::f64 ? Stored::f64 : t == DType::f32 ? Stored::f32 : Stored::i32; }

template <class To> void put(unsigned char*& p, To x) {
  std::memcpy(p, &x, sizeof x);
  p += sizeof x;
}

/// Converts elements [begin, end) of t to bytes.
size_t encode(const OutTensor& t, int64_t begin, int64_t end, unsigned char* out) {
  unsigned char* p = out;
  auto from = [&](auto zero) {
    const auto* x = t.value.as<decltype(zero)>();
    for (int64_t i = begin; i < end; i++) switch (t.stored) {
        case Stored::f64: put(p, double(x[i])); break;
        case Stored::f32: put(p, float(x[i])); break;
        case Stored::f16: put(p, float_to_half(float(x[i]))); break;
        case Stored::bf16: put(p, float_to_bfloat(float(x[i]))); break;
        case Stored::i64: put(p, int64_t(x[i])); break;
        default: put(p, int32_t(x[i])); break;
      }
  };
  if (t.value.type == DType::i32) from(int32_t{});
  else by_type(t.value.type, from);
  return size_t(p - out);
}

/// Calls sink(bytes, count) for the data of all tensors in order, in pieces.
template <class F> void stream(const std::vector<OutTensor>& tensors, F sink) {
  constexpr int64_t kPiece = 1 << 13;
  std::vector<unsigned char> buffer(size_t(kPiece) * 8);
  for (const auto& t : tensors) {
    if (t.stored == natural(t.value.type)) {
      if (t.value.size() > 0) sink(t.value.data, t.value.bytes());
      continue;
    }
    for (int64_t i = 0; i < t.value.size(); i += kPiece)
      sink(buffer.data(), encode(t, i, std::min(i + kPiece, t.value.size()), buffer.data()));
  }
}

}  // namespace

OutTensor::OutTensor(std::string n, const Tensor& v) : OutTensor(std::move(n), v, natural(v.type)) {}

void write_safetensors(const std::string& path, std::vector<OutTensor> tensors, std::map<std::string, std::string> metadata) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) { return bytes_of(a.stored) > bytes_of(b.stored); });
  metadata["sha256"] = kNoHash;
  Json json;
  json["__metadata__"] = metadata;
  int64_t at = 0;
  for (const auto& t : tensors) {
    bool integer = t.stored == Stored::i64 || t.stored == Stored::i32, floating = t.stored <= Stored::bf16;
    check(t.value.type == DType::i32 ? integer : floating, "{}: {} cannot be stored as {}", t.name, name_of(t.value.type),
          name_of(t.stored));
    check(!json.contains(t.name), "tensor {} written twice", t.name);
    Json& entry = json[t.name];
    entry["dtype"] = name_of(t.stored);
    entry["shape"] = std::vector<int64_t>(t.value.shape.n, t.value.shape.n + t.value.shape.rank);
    entry["data_offsets"] = {at, at + t.value.size() * bytes_of(t.stored)};
    at += t.value.size() * bytes_of(t.stored);
  }
  std::string header = json.dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; i++) length[i] = char(uint64_t(header.size()) >> (8 * i) & 255);
  Sha256 hash;
  hash.add(length), hash.add(header);
  stream(tensors, [&](const void* data, size_t bytes) { hash.add(data, bytes); });
  header.replace(header.find("\"sha256\":\"" + kNoHash) + 10, 64, hash.hex());

  FileWriter file(path, 8 + header.size() + uint64_t(at));
  file.write(length), file.write(header);
  stream(tensors, [&](const void* data, size_t bytes) { file.write(data, bytes); });
  file.commit();
}

void SafeTensors::verify() const {
  const std::string& stored = meta("sha256");
  std::string_view all = file_.text();
  std::string header(all.substr(0, all.size() - size_t(data_bytes_)));
  size_t place = header.find("\"sha256\":\"" + stored);
  if (place == std::string::npos || stored.size() != 64)
    fail(Exit::data, "{}: __metadata__: sha256 '{}', expected 64 hexadecimal digits", path(), stored);
  header.replace(place + 10, 64, kNoHash);
  Sha256 hash;
  hash.add(header), hash.add(all.substr(header.size()));
  if (hash.hex() != stored) fail(Exit::data, "{}: sha256 differs from the one in its header, expected an undamaged file", path());
}

}  // namespace stflow
