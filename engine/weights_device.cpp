// Numbers of a file where a model computes with them: apart from engine/weights.cpp, so that readers alone know no device.
#include "engine/storage.h"
#include "engine/weights.h"

namespace stflow {

void Weights::read_into(const std::string& name, const Tensor& out, Device device) const {
  if (device != Device::cpu) {
    const Array here(out.shape, out.type);
    read_into(name, here);
    return copy(device, out.data, Device::cpu, here.tensor().data, out.bytes());
  }
  const StoredTensor& t = at(name);
  std::vector<int64_t> wanted(out.shape.n, out.shape.n + out.shape.rank);
  if (t.shape != wanted) fail(Exit::data, "{}: tensor '{}': shape {}, expected {}", path(), name, t.shape_text(), out.shape.text());
  convert(t, 0, t.size, out.type == DType::f64 ? Stored::f64 : out.type == DType::f32 ? Stored::f32 : Stored::i32, out.data, path());
}

}  // namespace stflow
