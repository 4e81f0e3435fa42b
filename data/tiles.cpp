#include "data/tiles.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/error.h"

namespace stflow {
namespace {

constexpr int kBlock = 32;

/// -ln((v + 1) / 256) for each byte.
const std::array<float, 256>& density_table() {
  static const std::array<float, 256> table = [] {
    std::array<float, 256> t{};
    for (int v = 0; v < 256; v++) t[size_t(v)] = float(-std::log((v + 1) / 256.0));
    return t;
  }();
  return table;
}

bool is_tissue(const Image& image, int x0, int y0) {
  double sum[3] = {0, 0, 0};
  for (int y = y0; y < y0 + kBlock; y++)
    for (int x = x0; x < x0 + kBlock; x++)
      for (int c = 0; c < 3; c++) sum[c] += image.rgb[size_t((y * image.width + x) * 3 + c)];
  for (double& s : sum) s /= kBlock * kBlock;
  const double mean = (sum[0] + sum[1] + sum[2]) / 3;
  const double colour = std::max({sum[0], sum[1], sum[2]}) - std::min({sum[0], sum[1], sum[2]});
  return colour > 20 && mean < 225 && mean > 40;
}

using Matrix = std::array<std::array<double, 3>, 3>;

Matrix inverse(const Matrix& m) {
  Matrix r;
  double det = 0;
  for (size_t i = 0; i < 3; i++)
    for (size_t j = 0; j < 3; j++)
      r[j][i] = m[(i + 1) % 3][(j + 1) % 3] * m[(i + 2) % 3][(j + 2) % 3] - m[(i + 1) % 3][(j + 2) % 3] * m[(i + 2) % 3][(j + 1) % 3];
  for (size_t j = 0; j < 3; j++) det += m[0][j] * r[j][0];
  for (auto& row : r)
    for (double& x : row) x /= det;
  return r;
}

/// Haematoxylin, eosin and DAB as unit vectors of optical density (Ruifrok and Johnston, 2001).
Matrix stains() {
  Matrix m = {{{0.65, 0.70, 0.29}, {0.07, 0.99, 0.11}, {0.27, 0.57, 0.78}}};
  for (auto& row : m) {
    const double norm = std::sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2]);
    for (double& x : row) x /= norm;
  }
  return m;
}

}  // namespace

TileSource::TileSource(const std::vector<TileImage>& images, int size, TileJitter jitter) : size_(size), jitter_(jitter) {
  for (const auto& [path, side] : images) {
    const auto largest = int64_t(std::ceil(side * std::exp(jitter.scale))) + 1;
    images_.push_back(read_image(path));
    sides_.push_back(side);
    const Image& image = images_.back();
    if (image.width < largest || image.height < largest)
      fail(Exit::data, "{}: header: {} x {} pixels, expected at least {} x {} for a tile", path, image.width, image.height, largest,
           largest);
    const size_t before = blocks_.size();
    for (int y = 0; y + kBlock <= image.height; y += kBlock)
      for (int x = 0; x + kBlock <= image.width; x += kBlock)
        if (is_tissue(image, x, y)) blocks_.push_back({int(images_.size()) - 1, x, y});
    if (blocks_.size() == before) fail(Exit::data, "{}: image: no tissue, expected coloured blocks of {} pixels", path, kBlock);
  }
}

void TileSource::tile(const RandomKey& key, float* density) const {
  uint32_t words[16];
  for (uint32_t i = 0; i < 4; i++) {
    const Philox4 r = key.draw(i);
    std::copy(r.v, r.v + 4, words + size_t(4) * i);
  }
  auto signed_unit = [&](int i) { return 2.0 * double(uniform01(words[i])) - 1; };
  const Block& block = blocks_[size_t((uint64_t(words[0]) * blocks_.size()) >> 32)];
  const Image& image = images_[size_t(block.image)];
  const double side = sides_[size_t(block.image)] * std::exp(jitter_.scale * signed_unit(1)), step = side / size_;
  auto corner = [&](int at, int word, int64_t limit) {
    return std::clamp(at + kBlock * double(uniform01(words[word])) - side / 2, 0.0, double(limit - 1) - side);
  };
  const double x0 = corner(block.x, 2, image.width), y0 = corner(block.y, 3, image.height);
  const uint32_t turn = words[4] & 7;  // one of the eight symmetries of the square

  // The stains are separated, scaled and shifted, and put together again: one affine map of the three densities.
  static const Matrix together = stains(), apart = inverse(together);
  double gain[3], base[3], map[3][3], shift[3];
  for (int s = 0; s < 3; s++) gain[s] = 1 + jitter_.stain * signed_unit(5 + s), base[s] = jitter_.base * signed_unit(8 + s);
  for (size_t c = 0; c < 3; c++) {
    shift[c] = 0;
    for (size_t s = 0; s < 3; s++) shift[c] += base[s] * together[s][c];
    for (size_t from = 0; from < 3; from++) {
      map[c][from] = 0;
      for (size_t s = 0; s < 3; s++) map[c][from] += apart[from][s] * gain[s] * together[s][c];
    }
  }
  const auto& table = density_table();
  const int probes = std::clamp(int(std::ceil(step - 0.25)), 1, 4);  // per axis and pixel, so that a reduction does not alias
  const float share = 1.0f / float(probes * probes);
  for (int v = 0; v < size_; v++)
    for (int u = 0; u < size_; u++) {
      float value[3] = {0, 0, 0};
      for (int k = 0; k < probes * probes; k++) {
        const int across = k % probes, down = k / probes;
        const auto x = float(x0 + (u + (across + 0.5) / probes) * step), y = float(y0 + (v + (down + 0.5) / probes) * step);
        const int column = int(x), row = int(y);
        const float fx = x - float(column), fy = y - float(row);
        const uint8_t* p = image.rgb.data() + (row * image.width + column) * 3;
        const uint8_t* q = p + image.width * 3;
        for (int c = 0; c < 3; c++)
          value[c] +=
              share * ((float(p[c]) * (1 - fx) + float(p[c + 3]) * fx) * (1 - fy) + (float(q[c]) * (1 - fx) + float(q[c + 3]) * fx) * fy);
      }
      double from[3];
      for (int c = 0; c < 3; c++) from[c] = double(table[size_t(value[c] + 0.5f)]);
      int i = v, j = u;  // where this pixel goes
      if (turn & 1) i = size_ - 1 - i;
      if (turn & 2) j = size_ - 1 - j;
      if (turn & 4) std::swap(i, j);
      float* to = density + (int64_t(i) * size_ + j) * 3;
      for (int c = 0; c < 3; c++)
        to[c] = float(std::clamp(map[c][0] * from[0] + map[c][1] * from[1] + map[c][2] * from[2] + shift[c], 0.0, 5.6));
    }
}

}  // namespace stflow
