#include "tests/check.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <deque>

#include "engine/cuda/memory.h"
#include "engine/random.h"
#include "engine/threads.h"
#include "ops/weighted_sum.h"
#include "tests/orders.h"

namespace stflow::test {
namespace {

struct Result {
  double loss = 0;
  std::vector<double> value;
  std::vector<std::vector<double>> grads;
  std::vector<unsigned char> bytes;  // value and gradients as they lie in memory
};

bool is_fixed(const Options& o, size_t i) {
  for (int f : o.fixed)
    if (size_t(f) == i) return true;
  return false;
}

// Copies of constants on the device, for the expression at hand.
std::deque<Array> arrays;
std::deque<Graph> graphs;

Array to_device(const Tensor& host, Device device) {
  Array there(host.shape, host.type, device);
  copy(device, there.tensor().data, Device::cpu, host.data, host.bytes());
  return there;
}
Array to_host(const Tensor& t, Device device) {
  Array here(t.shape, t.type);
  copy(Device::cpu, here.tensor().data, device, t.data, t.bytes());
  return here;
}
void append(std::vector<unsigned char>& bytes, const Array& a) {
  const auto* b = static_cast<const unsigned char*>(a.tensor().data);
  bytes.insert(bytes.end(), b, b + a.tensor().bytes());
}

template <class T>
Result run(Context context, const Build& build, const std::vector<Shape>& shapes, const std::vector<std::vector<double>>& x,
           const Options& o) {
  const Device device = context.device;
  Tape tape(context);
  tape.scorch(true);
  std::vector<Array> values, grads;
  std::vector<Var> in;
  auto there = [&](const std::vector<double>& numbers, Shape shape) {
    Array host(shape, DTypeOf<T>::value);
    for (size_t j = 0; j < numbers.size(); j++) host.as<T>()[j] = T(numbers[j]);
    return device == Device::cpu ? std::move(host) : to_device(host, device);
  };
  for (size_t i = 0; i < shapes.size(); i++) {
    values.push_back(there(x[i], shapes[i]));
    grads.emplace_back(shapes[i], DTypeOf<T>::value, device);
    Tensor none;
    in.push_back(tape.input(values[i], is_fixed(o, i) ? none : grads[i].tensor()));
  }
  Var y = build(tape, in);
  const Array weight = there(normal(size_t(y.shape().size()), 77), y.shape());
  Var loss = weighted_sum(y, tape.input(weight));
  tape.plan(true, true);  // lives first with every value kept ...
  Storage arena(0, device);
  ParameterSet none;
  tape.plan(true);  // ... then for real: both must plan
  tape.bind(arena, none);
  tape.forward();
  Result r;
  r.loss = *to_host(tape.value(loss), device).template as<T>();
  bool any = false;  // where every input is empty nothing takes a gradient
  for (auto& g : grads) any |= g.tensor().size() > 0;
  if (any) tape.backward(loss);
  for (const auto& grad : grads) {
    const Array here = to_host(grad, device);
    r.grads.emplace_back(here.as<T>(), here.as<T>() + here.tensor().size());
    append(r.bytes, here);
  }
  tape.plan(true, true);
  tape.bind(arena, none);
  tape.forward();
  const Array v = to_host(tape.value(y), device);
  r.value.assign(v.as<T>(), v.as<T>() + v.tensor().size());
  append(r.bytes, v);
  arrays.clear(), graphs.clear();
  return r;
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = 0, top = 0;
  for (size_t i = 0; i < a.size(); i++) {
    double d = std::fabs(a[i] - b[i]);
    if (!(d <= worst)) worst = d;  // NaN wins
    top = std::max(top, std::fabs(b[i]));
  }
  return worst / (top > 0 ? top : 1);
}

}  // namespace

std::vector<double> normal(size_t n, uint64_t seed) {
  std::vector<double> v(n);
  RandomKey key(seed, Stream::test);
  for (size_t i = 0; i < n; i++) {
    auto r = key.draw(i);
    v[i] = std::sqrt(-2 * std::log(open01(r.v[0], r.v[1]))) * std::cos(6.283185307179586 * open01(r.v[2], r.v[3]));
  }
  return v;
}

Var constant(Tape& tape, const Tensor& host) {
  if (tape.context().device == Device::cpu) return tape.input(host);
  arrays.push_back(to_device(host, tape.context().device));
  return tape.input(arrays.back());
}

const Graph& constant(const Tape& tape, const Graph& host) {
  if (tape.context().device == Device::cpu) return host;
  graphs.push_back(host.to(tape.context().device));
  return graphs.back();
}

double relative(const Tensor& a, const Tensor& b) {
  REQUIRE(a.size() == b.size());
  auto numbers = [](const Tensor& t) {
    std::vector<double> v;
    by_type(t.type, [&](auto zero) { v.assign(t.as<decltype(zero)>(), t.as<decltype(zero)>() + t.size()); });
    return v;
  };
  return apart(numbers(a), numbers(b));
}

void op(const std::string& name, const Build& build, const std::vector<Shape>& shapes, const Options& o) {
  CAPTURE(name);
  std::vector<std::vector<double>> x;
  for (size_t i = 0; i < shapes.size(); i++) {
    x.push_back(normal(size_t(shapes[i].size()), 1000 + i));
    if (o.low < o.high)
      for (auto& v : x.back()) v = o.low + (o.high - o.low) * (0.5 + 0.5 * std::erf(v / std::sqrt(2.0)));
  }
  for (size_t i = 0; i < x.size(); i++)
    for (auto& v : x[i]) v = double(float(v));  // the same numbers in both precisions
  const Result exact = run<double>(Context{Isa::plain}, build, shapes, x, o);

  double scale = 0;
  for (auto& g : exact.grads)
    for (double v : g) scale += v * v;
  scale = std::sqrt(scale);
  for (int probe = 0; probe < (kOnlyMemory ? 1 : 8); probe++) {
    double want = 0, length = 0;
    std::vector<std::vector<double>> direction;
    for (size_t i = 0; i < x.size(); i++) {
      direction.push_back(is_fixed(o, i) ? std::vector<double>(x[i].size(), 0.0) : normal(x[i].size(), 5000 + 100 * uint64_t(probe) + i));
      for (double d : direction[i]) length += d * d;
    }
    length = length > 0 ? std::sqrt(length) : 1;
    auto at = [&](double h) {
      auto moved = x;
      for (size_t i = 0; i < x.size(); i++)
        for (size_t j = 0; j < x[i].size(); j++) moved[i][j] += h * direction[i][j] / length;
      return run<double>(Context{Isa::plain}, build, shapes, moved, o).loss;
    };
    for (size_t i = 0; i < x.size(); i++)
      for (size_t j = 0; j < x[i].size(); j++) want += exact.grads[i][j] * direction[i][j] / length;
    const double h = 1e-3;  // fourth order: error ~ h^4
    const double got = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
    CAPTURE(probe);
    CAPTURE(got);
    CAPTURE(want);
    REQUIRE(std::fabs(got - want) <= o.gradient * std::max({1e-3, std::fabs(want), scale}));
  }

  double top = 0;
  for (auto& g : exact.grads)
    for (double v : g) top = std::max(top, std::fabs(v));
  auto agrees = [&](const Result& r) {
    REQUIRE(apart(r.value, exact.value) <= o.agree);
    for (size_t i = 0; i < x.size(); i++)
      for (size_t j = 0; j < x[i].size(); j++) REQUIRE(std::fabs(r.grads[i][j] - exact.grads[i][j]) <= o.agree * (top > 0 ? top : 1));
  };
  for (Isa isa : {Isa::plain, Isa::avx2, Isa::avx512}) {
    if (!supports(isa)) continue;
    CAPTURE(name_of(isa));
    set_thread_count(1);
    const Result one = run<float>(Context{isa}, build, shapes, x, o);
    agrees(one);
    for (int threads : {2, 3}) {
      set_thread_count(threads);
      REQUIRE(run<float>(Context{isa}, build, shapes, x, o).bytes == one.bytes);
    }
    set_thread_count(0);
  }

  const emulator::InEveryOrder verified;
  const Result cuda = run<float>(Context{Isa::plain, Device::cuda}, build, shapes, x, o);
  agrees(cuda);
  if (!cuda_is_emulated()) REQUIRE(run<float>(Context{Isa::plain, Device::cuda}, build, shapes, x, o).bytes == cuda.bytes);
}

}  // namespace stflow::test
