#include "model/mae.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ops/add.h"
#include "ops/masked_mse.h"
#include "ops/pool_tokens.h"
#include "ops/unmask_tokens.h"

namespace stflow {
namespace {

/// Rows (side^2, dim): sines and cosines of column and row, a quarter of the dimensions each.
void sine_cosine(int64_t side, int64_t dim, float* out) {
  const int64_t quarter = dim / 4;
  for (int64_t y = 0; y < side; y++)
    for (int64_t x = 0; x < side; x++, out += dim)
      for (int64_t i = 0; i < quarter; i++) {
        const double w = std::pow(10000.0, -double(i) / double(quarter));
        out[i] = float(std::sin(double(x) * w)), out[quarter + i] = float(std::cos(double(x) * w));
        out[2 * quarter + i] = float(std::sin(double(y) * w)), out[3 * quarter + i] = float(std::cos(double(y) * w));
      }
}

}  // namespace

int64_t MaeConfig::visible() const { return std::clamp<int64_t>(std::llround(double(vit.grid()) * (1 - hidden)), 1, vit.grid() - 1); }

MaeBatch::MaeBatch(const MaeConfig& config, int64_t images, const Context& context)
    : config_(config),
      images_(images),
      patches_({images, config.visible(), 3 * config.vit.patch * config.vit.patch}, DType::f32, context),
      cells_({images, config.visible()}, DType::i32, context),
      order_({images, config.vit.grid()}, DType::i32, context),
      pixels_({images, 1 + config.vit.grid(), 3 * config.vit.patch * config.vit.patch}, DType::f32, context),
      hidden_({images, 1 + config.vit.grid(), kPatchStatistics}, DType::f32, context),
      own_({images, 1 + config.visible(), kPatchStatistics}, DType::f32, context),
      tile_({images, kTileStatistics}, DType::f32, context),
      hidden_weight_({images * (1 + config.vit.grid())}, DType::f32, context),
      visible_weight_({images * (1 + config.visible())}, DType::f32, context),
      tile_weight_({images}, DType::f32, context),
      zero_({1}, DType::f32, context) {
  zero_.send();
}

void MaeBatch::send() const {
  for (const Staged* s : {&patches_, &cells_, &order_, &pixels_, &hidden_, &own_, &tile_, &hidden_weight_, &visible_weight_, &tile_weight_})
    s->send();
}

void MaeBatch::fill(int64_t i, const float* density, const RandomKey& key, const StatisticScale& scale) {
  const VitConfig& v = config_.vit;
  const int64_t grid = v.grid(), seen = config_.visible(), patch = v.patch, side = v.side(), size = v.image, n = 3 * patch * patch;
  int32_t *order = order_.as<int32_t>() + i * grid, *cells = cells_.as<int32_t>() + i * seen;
  std::iota(order, order + grid, 0);
  for (int64_t j = 0; j < seen; j++)  // the first `seen` of a random permutation
    std::swap(order[j], order[j + int64_t((uint64_t(key.draw(uint64_t(j)).v[0]) * uint64_t(grid - j)) >> 32)]);
  std::copy(order, order + seen, cells);

  float* tile = tile_.as<float>() + i * kTileStatistics;
  std::vector<float> statistics(size_t(grid) * kPatchStatistics);
  std::vector<uint8_t> is_seen(size_t(grid), 0);
  for (int64_t j = 0; j < seen; j++) is_seen[size_t(order[j])] = 1;
  tile_statistics(density, int(size), int(patch), is_seen.data(), tile, statistics.data());
  for (size_t s = 0; s < kTileStatistics; s++) tile[s] = (tile[s] - scale.mean[s]) / scale.deviation[s];
  tile_weight_.as<float>()[i] = 1.0f / float(images_);

  float* hidden_weight = hidden_weight_.as<float>() + i * (1 + grid);
  float* visible_weight = visible_weight_.as<float>() + i * (1 + seen);
  hidden_weight[0] = visible_weight[0] = 0;
  std::vector<float> values(static_cast<size_t>(n));
  for (int64_t j = 0; j < grid; j++) {
    const int64_t cell = order[j], row = i * (1 + grid) + 1 + cell;
    double sum = 0, squares = 0;
    for (int64_t c = 0; c < 3; c++)
      for (int64_t y = 0; y < patch; y++)
        for (int64_t x = 0; x < patch; x++) {
          const float p = std::exp(-density[((cell / side * patch + y) * size + cell % side * patch + x) * 3 + c]);
          values[size_t((c * patch + y) * patch + x)] = p;
          sum += double(p), squares += double(p) * double(p);
        }
    const double mean = sum / double(n), deviation = std::sqrt(std::max(0.0, squares / double(n) - mean * mean) + 1e-4);
    float* target = pixels_.as<float>() + row * n;
    for (int64_t k = 0; k < n; k++) target[k] = float((double(values[size_t(k)]) - mean) / deviation);
    const float* own = statistics.data() + cell * kPatchStatistics;
    std::copy(own, own + kPatchStatistics, hidden_.as<float>() + row * kPatchStatistics);
    hidden_weight[1 + cell] = j < seen ? 0.0f : 1.0f / float(images_ * (grid - seen));
    if (j >= seen) continue;
    std::copy(own, own + kPatchStatistics, own_.as<float>() + (i * (1 + seen) + 1 + j) * kPatchStatistics);
    visible_weight[1 + j] = 1.0f / float(images_ * seen);
    float* in = patches_.as<float>() + (i * seen + j) * n;
    for (int64_t k = 0; k < n; k++) {
      const auto c = size_t(k / (patch * patch));
      in[k] = (values[size_t(k)] - v.mean[c]) / v.std[c];
    }
  }
}

Mae::Mae(ParameterSet& set, const MaeConfig& c)
    : config(c),
      vit(set, c.vit),
      embed(set, "decoder.embed", c.vit.dim, c.decoder_dim, Init::xavier),
      mask_token(set.add("decoder.mask_token", {1, 1, c.decoder_dim}, Init::trunc_normal)),
      decoder_position(set.add("decoder.pos_embed", {1, c.vit.grid(), c.decoder_dim}, Init::zero)) {
  for (int64_t i = 0; i < c.decoder_depth; i++) {
    layer_names.push_back(fmt::format("decoder.blocks.{}", i));
    blocks.emplace_back(set, layer_names.back(), c.decoder_dim, c.decoder_heads, 4 * c.decoder_dim, false, false, c.vit.eps);
  }
  norm = LayerNorm(set, "decoder.norm", c.decoder_dim, c.vit.eps);
  pixels_head = Linear(set, "decoder.pixels", c.decoder_dim, 3 * c.vit.patch * c.vit.patch, Init::xavier);
  hidden_head = Linear(set, "decoder.hidden", c.decoder_dim, kPatchStatistics, Init::xavier);
  own_head = Linear(set, "decoder.own", c.vit.dim, kPatchStatistics, Init::xavier);
  tile_head = Linear(set, "decoder.tile", c.vit.dim, kTileStatistics, Init::xavier);
}

void Mae::set_positions(const ParameterSet& set) const {
  auto put = [&](const Parameter& p, int64_t skipped_rows) {
    const Array rows({config.vit.grid(), p.shape[-1]}, DType::f32);
    sine_cosine(config.vit.side(), p.shape[-1], rows.as<float>());
    copy(set.device(), set.value(p).as<float>() + skipped_rows * p.shape[-1], Device::cpu, rows.tensor().data, rows.tensor().bytes());
  };
  put(vit.pos_embed, config.vit.placed);
  put(decoder_position, 0);
}

Mae::Losses Mae::losses(Tape& tape, const MaeBatch& b) const {
  Var tokens = vit.tokens(tape.input(b.patches_), tape.input(b.cells_));
  tape.layer("decoder.own");
  Var own = masked_mse(own_head(tokens), tape.input(b.own_), tape.input(b.visible_weight_));
  tape.layer("decoder.tile");
  Var tile = masked_mse(tile_head(pool_tokens(tokens, 1, Pooling::cls)), tape.input(b.tile_), tape.input(b.tile_weight_));
  tape.layer("decoder.embed");
  Var x = unmask_tokens(embed(tokens), tape.param(mask_token), tape.param(decoder_position), tape.input(b.order_));
  for (size_t i = 0; i < blocks.size(); i++) {
    tape.layer(layer_names[i].c_str());
    x = blocks[i](x);
  }
  tape.layer("decoder.norm");
  x = norm(x);
  Var weight = tape.input(b.hidden_weight_);
  Var pixels = masked_mse(pixels_head(x), tape.input(b.pixels_), weight);
  Var hidden = masked_mse(hidden_head(x), tape.input(b.hidden_), weight);
  // A value that nobody reads stays until the end of the run: the four are copied for the report.
  auto copy = [&](Var v) { return add(v, tape.input(b.zero_)); };
  return {add(add(pixels, hidden), add(own, tile)), copy(pixels), copy(hidden), copy(own), copy(tile)};
}

}  // namespace stflow
