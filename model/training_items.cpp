#include "model/training_items.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ops/gather.h"

namespace stflow {

// Fisher-Yates on the slides of one pass, i = slides - 1 down to 1: a pure function of (seed, pass). Only one place is asked
// for, so the swaps are undone from the last to the first, which shows where its slide came from.
int64_t ItemOrder::slide_of(int64_t item) const {
  const int64_t pass = item / per_pass();
  int64_t place = item % per_pass() / repeats;
  if (!shuffle) return place;
  const RandomKey key(seed, Stream::item, uint32_t(pass), 1);
  for (int64_t i = 1; i < slides; i++) {
    const Philox4 r = key.draw(uint64_t(i));
    const auto other = int64_t(((uint64_t(r.v[0]) << 32) | r.v[1]) % uint64_t(i + 1));
    if (place == i) place = other;
    else if (place == other) place = i;
  }
  return place;
}

namespace {

Tensor table(const std::vector<float>& v, int64_t rows) {
  return {const_cast<float*>(v.data()), {rows, int64_t(v.size()) / std::max<int64_t>(rows, 1)}, DType::f32};
}

}  // namespace

ResidentSlide::ResidentSlide(const TrainingSlide& s, const GeometryConfig& config, const Context& context)
    : s_(s),
      geometry_(context),
      inputs_(table(s.inputs, s.slide->size())),
      targets_(table(s.targets, s.slide->size())),
      ranks_(s.slide->ranks()) {
  geometry_.build(s.slide->coords(), s.slide->ranks(), config, DType::f32);
  if (context.device == Device::cpu) return;
  for (Tensor* t : {&inputs_, &targets_, &ranks_}) *t = copies_.emplace_back(copy_of(*t, Device::cpu, context.device, context.stream));
}

Item::Item(const Context& context) : context_(context), own_(context), upload_(context.device) {
  for (Storage* s : {&rows_there_, &input_memory_, &target_memory_}) *s = Storage(0, context.device);
}

void Item::set_whole(const ResidentSlide& s) {
  inputs_ = s.inputs(), targets_ = s.targets(), ranks_ = s.ranks(), geometry_ = &s.geometry(), spots_ = s.slide().size();
}

int64_t Item::disc_size(int64_t total, const RandomKey& key) {
  const Philox4 r = key.draw(0);
  return std::min(total, std::max<int64_t>(2, int64_t(std::floor(double(total) * open01(r.v[0], r.v[1])))));
}

void Item::choose_disc(const Slide& slide, const RandomKey& key) {
  if (chosen_of_ == &slide && chosen_by_ == key) return;
  chosen_of_ = &slide, chosen_by_ = key;
  const int64_t total = slide.size(), n = disc_size(total, key);
  const Philox4 r = key.draw(0);
  // By rank, so that the disc does not depend on the order of rows.
  by_rank_.resize(size_t(total));
  for (int64_t i = 0; i < total; i++) by_rank_[size_t(slide.rank[size_t(i)])] = int32_t(i);
  const auto centre = size_t(by_rank_[size_t(((uint64_t(r.v[2]) << 32) | r.v[3]) % uint64_t(total))]);
  distance_.resize(size_t(total));
  for (size_t i = 0; i < size_t(total); i++) {
    const double dx = slide.xy[2 * i] - slide.xy[2 * centre], dy = slide.xy[2 * i + 1] - slide.xy[2 * centre + 1];
    distance_[i] = dx * dx + dy * dy;
  }
  rows_ = by_rank_;
  const auto rank = [&](int32_t i) { return slide.rank[size_t(i)]; };
  const auto nearer = [&](int32_t a, int32_t b) {
    const double da = distance_[size_t(a)], db = distance_[size_t(b)];
    return da != db ? da < db : rank(a) < rank(b);
  };
  std::nth_element(rows_.begin(), rows_.begin() + (n - 1), rows_.end(), nearer);
  rows_.resize(size_t(n));
  std::sort(rows_.begin(), rows_.end(), [&](int32_t a, int32_t b) { return rank(a) < rank(b); });
  xy_.resize(size_t(2 * n)), rank_memory_.resize(size_t(n));
  for (size_t i = 0; i < size_t(n); i++) {
    std::copy_n(slide.xy.begin() + 2 * rows_[i], 2, xy_.begin() + std::ptrdiff_t(2 * i));
    rank_memory_[i] = int32_t(i);
  }
}

// Inputs and targets of the disc, and its ranks, which are 0, 1, 2 ...
void Item::gather(const ResidentSlide& s, int64_t rows) {
  Tensor index{rows_.data(), {rows}, DType::i32};
  ranks_ = {rank_memory_.data(), {rows}, DType::i32};
  if (context_.device == Device::cuda) {
    const auto stride = aligned(index.bytes());
    auto* here = static_cast<char*>(upload_.room(2 * stride));
    auto *from = reinterpret_cast<int32_t*>(here), *rank = reinterpret_cast<int32_t*>(here + stride);
    for (int64_t i = 0; i < rows; i++) from[i] = rows_[size_t(std::min(i, spots_ - 1))], rank[i] = int32_t(i);
    rows_there_.reserve(2 * stride);
    index.data = rows_there_.data(), ranks_.data = static_cast<char*>(rows_there_.data()) + stride;
    upload_.send(index.data, stride + ranks_.bytes(), context_.stream);
  }
  inputs_ = {nullptr, {rows, s.inputs().cols()}, DType::f32}, targets_ = {nullptr, {rows, s.targets().cols()}, DType::f32};
  input_memory_.reserve(inputs_.bytes()), target_memory_.reserve(targets_.bytes());
  inputs_.data = input_memory_.data(), targets_.data = target_memory_.data();
  on(context_, [&](auto b) { gather_forward(b, s.inputs(), index, inputs_), gather_forward(b, s.targets(), index, targets_); });
}

void Item::set_disc(const ResidentSlide& s, const GeometryConfig& config, const RandomKey& key) {
  choose_disc(s.slide(), key);
  spots_ = int64_t(rows_.size());
  const int64_t apart = (largest_ + kSizes - 1) / kSizes,
                rows = largest_ > 0 ? std::min((spots_ + apart - 1) / apart * apart, largest_) : spots_;
  gather(s, rows);
  own_.build({xy_.data(), {spots_, 2}, DType::f64}, {rank_memory_.data(), {spots_}, DType::i32}, config, DType::f32, s.geometry().unit(),
             rows);
  geometry_ = &own_;
}

void Item::reserve(const ResidentSlide& s, const GeometryConfig& config) {
  check(context_.device == Device::cuda, "reserve: a disc on the CPU");
  rows_ = s.slide().rank, chosen_of_ = nullptr, spots_ = largest_ = s.slide().size();
  gather(s, largest_);
  own_.build(s.slide().coords(), s.slide().ranks(), config, DType::f32, s.geometry().unit());
}

}  // namespace stflow
