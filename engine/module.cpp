#include "engine/module.h"

#include <cmath>
#include <utility>

#include "engine/threads.h"

namespace stflow {

Parameter ParameterSet::add(const std::string& name, Shape shape, Init init, int64_t fan_in) {
  check(!find(name), "parameter {} declared twice", name);
  Parameter p{name, shape, type_, init, fan_in, size_, shape.rank >= 2, true, false, uint32_t(list_.size())};
  size_ += (shape.size() + kAlignment - 1) / kAlignment * kAlignment;
  list_.push_back(p);
  return p;
}

Parameter ParameterSet::matrix(const std::string& name, Shape shape, Init init, int64_t fan_in) {
  const int64_t before = size_;
  Parameter p = add(name, shape, init, fan_in);
  if (packs_) {
    size_ = before;
    p.packed = true, p.offset = -1;
    if (shape.rank == 2) p.type = held_type_;
    list_.back() = p;
  }
  return p;
}

void ParameterSet::hold(const Parameter& p, const Tensor& panels) {
  check(p.packed, "parameter {} lies in the flat array", p.name);
  held_.resize(list_.size());
  held_[p.number] = panels;
}

Tensor ParameterSet::held(const Parameter& p) const {
  check(p.number < held_.size() && held_[p.number].data, "parameter {} is held nowhere", p.name);
  return {held_[p.number].data, p.shape, held_[p.number].type, true};
}

const Parameter* ParameterSet::find(const std::string& name) const {
  for (const auto& p : list_)
    if (p.name == name) return &p;
  return nullptr;
}

int64_t ParameterSet::parameters() const {
  int64_t n = 0;
  for (const auto& p : list_) n += p.shape.size();
  return n;
}

Tensor ParameterSet::slice(const Tensor& flat, const Parameter& p) const {
  return {static_cast<char*>(flat.data) + size_t(p.offset) * bytes_of(flat.type), p.shape, flat.type};
}

void ParameterSet::initialise(const Parameter& p, uint64_t seed, const Tensor& out) const {
  const RandomKey key(seed, Stream::init, p.number);
  parallel_for(out.size(), 1 << 14, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      Philox4 r = key.draw(uint64_t(i));
      double x = 0;
      switch (p.init) {
        case Init::zero: break;
        case Init::one: x = 1; break;
        case Init::fan_in: x = (2 * open01(r.v[0], r.v[1]) - 1) / std::sqrt(double(p.fan_in)); break;
        case Init::xavier:
          x = (2 * open01(r.v[0], r.v[1]) - 1) * std::sqrt(6.0 / (double(p.fan_in) + double(p.shape.size()) / double(p.fan_in)));
          break;
        case Init::trunc_normal:
          do {  // Box-Muller; redraw beyond two standard deviations
            x = std::sqrt(-2 * std::log(open01(r.v[0], r.v[1]))) * std::cos(6.283185307179586 * open01(r.v[2], r.v[3]));
            r = philox(r, uint32_t(seed), p.number + 1);
          } while (std::fabs(x) > 2);
          x *= 0.02;
          break;
      }
      by_type(out.type, [&](auto zero) { out.as<decltype(zero)>()[i] = decltype(zero)(float(x)); });
    }
  });
}

void ParameterSet::allocate(uint64_t seed) {
  values_ = Array({size_}, type_);
  for (const auto& p : list_)
    if (!p.packed) initialise(p, seed, value(p));
  if (device_ != Device::cpu) values_ = copy_of(values_, Device::cpu, device_);
  if (!packs_) grads_ = Array({size_ + 1}, type_, device_);
}

}  // namespace stflow
