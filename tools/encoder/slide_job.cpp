#include "tools/encoder/slide_job.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <numeric>
#include <tuple>
#include <utility>

#include "engine/text.h"
#include "engine/threads.h"

namespace stflow {
namespace {

constexpr size_t kPiece = 64;  // patches that a thread cuts in a row

/// Opened by whoever comes first, let go by whoever is last.
class SharedSlide {
 public:
  SharedSlide(OpenSlideImage open, size_t pieces) : open_(std::move(open)), left_(pieces) {}
  std::shared_ptr<const SlideImage> get() {
    const std::lock_guard<std::mutex> hold(lock_);
    if (!slide_) slide_ = open_();
    return slide_;
  }
  void done() {
    const std::lock_guard<std::mutex> hold(lock_);
    if (--left_ == 0) slide_.reset();
  }

 private:
  OpenSlideImage open_;
  std::mutex lock_;
  size_t left_;
  std::shared_ptr<const SlideImage> slide_;
};

/// Patches that are near each other come one after the other, so that a tile is decoded once: fields a few patches wide, row by row.
std::vector<int64_t> near_each_other(const std::vector<double>& xy, int64_t side) {
  const double field = std::max(1024.0, 4.0 * double(side));
  std::vector<int64_t> order(xy.size() / 2);
  std::iota(order.begin(), order.end(), 0);
  const auto place = [&](int64_t i) {
    const double x = xy[size_t(2 * i)], y = xy[size_t(2 * i + 1)];
    return std::tuple(std::floor(y / field), std::floor(x / field), y, x, i);
  };
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return place(a) < place(b); });
  return order;
}

Image patch_around(const SlideImage& slide, const std::vector<double>& xy, int64_t i, int64_t side, int size, bool* bad) {
  const auto [left, top] = patch_corner(xy[size_t(2 * i)], xy[size_t(2 * i + 1)], side);
  return slide.patch(left, top, side, size, bad);
}

}  // namespace

PatchJob slide_job(std::string name, OpenSlideImage open, std::vector<double> xy, int64_t side, int size) {
  const auto order = std::make_shared<const std::vector<int64_t>>(near_each_other(xy, side));
  const auto places = std::make_shared<const std::vector<double>>(std::move(xy));
  const auto shared = std::make_shared<SharedSlide>(std::move(open), (order->size() + kPiece - 1) / kPiece);
  PatchJob job{std::move(name), int64_t(order->size()), {}, {}, {}};
  for (size_t begin = 0; begin < order->size(); begin += kPiece)
    job.pieces.emplace_back([=](const PatchJob::Sink& sink) {
      {
        const std::shared_ptr<const SlideImage> slide = shared->get();
        for (size_t k = begin; k < std::min(begin + kPiece, order->size()); k++)
          sink((*order)[k], patch_around(*slide, *places, (*order)[k], side, size, nullptr));
      }
      shared->done();
    });
  return job;
}

std::vector<int64_t> patches_on_bad_tiles(const SlideImage& slide, const std::vector<double>& xy, int64_t side, int size) {
  const std::vector<int64_t> order = near_each_other(xy, side);
  std::vector<uint8_t> hit(order.size());
  parallel_for(int64_t(order.size()), int64_t(kPiece), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; k++) {
      bool bad = false;
      static_cast<void>(patch_around(slide, xy, order[size_t(k)], side, size, &bad));
      hit[size_t(order[size_t(k)])] = bad;
    }
  });
  std::vector<int64_t> rows;
  for (size_t i = 0; i < hit.size(); i++)
    if (hit[i]) rows.push_back(int64_t(i));
  return rows;
}

std::vector<int64_t> leave_out_bad(Section& s, const SlideImage& slide, int64_t side, int size, std::vector<std::string>& missing) {
  std::vector<int64_t> rows;
  std::vector<std::string> names;
  const std::vector<int64_t> bad = patches_on_bad_tiles(slide, s.xy, side, size);
  for (int64_t i = 0; i < s.size(); i++)
    if (std::binary_search(bad.begin(), bad.end(), i)) names.push_back(s.spots[size_t(i)]);
    else rows.push_back(i);
  if (rows.empty())
    fail(Exit::data, "{}: all {} patches lie on tiles that cannot be decoded, expected one that does not", slide.path(), s.size());
  if (bad.empty()) return rows;
  terminal::warn("{}: {} of {} patches lie on tiles that cannot be decoded and are left out: {}", slide.path(), bad.size(), s.size(),
                 listed(names));
  missing.insert(missing.end(), names.begin(), names.end());
  s.keep(rows);
  return rows;
}

}  // namespace stflow
