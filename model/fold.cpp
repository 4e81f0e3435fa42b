#include "model/fold.h"

#include <charconv>
#include <cmath>

namespace stflow {
namespace {

float eps_of(const Weights& file) {
  const std::string& text = file.meta("eps");
  float eps = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), eps);
  if (error != std::errc() || end != text.data() + text.size() || !(eps >= 0))
    fail(Exit::data, "{}: metadata: eps is '{}', expected a number >= 0", file.path(), text);
  return eps;
}

std::vector<double> numbers(const Weights& file, const std::string& name, int64_t many) {
  const StoredTensor& t = file.at(name);
  if (t.shape != std::vector<int64_t>{many}) fail(Exit::data, "{}: {}: shape {}, expected ({})", file.path(), name, t.shape_text(), many);
  return file.read<double>(name);
}

/// Adds convolution `conv` as `name`, with the batch norm `norm` behind it folded in unless that is empty: y = (w x + b - mean) g + beta
/// with g = gamma / sqrt(var + eps).
void add_convolution(const Weights& file, const std::string& conv, const std::string& norm, const std::string& name, double eps,
                     Weights& to) {
  const StoredTensor& t = file.at(conv + ".weight");
  if (t.shape.size() != 4 || t.shape[2] != t.shape[3])
    fail(Exit::data, "{}: {}: shape {}, expected (out, in, k, k)", file.path(), t.name, t.shape_text());
  const int64_t out = t.shape[0], in = t.shape[1], taps = t.shape[2] * t.shape[3];
  const auto w = file.read<double>(t.name);
  std::vector<double> scale(size_t(out), 1.0), bias(size_t(out), 0.0);
  if (file.find(conv + ".bias")) bias = numbers(file, conv + ".bias", out);
  if (!norm.empty()) {
    const auto gamma = numbers(file, norm + ".weight", out), beta = numbers(file, norm + ".bias", out);
    const auto mean = numbers(file, norm + ".running_mean", out), var = numbers(file, norm + ".running_var", out);
    for (size_t o = 0; o < size_t(out); o++)
      scale[o] = gamma[o] / std::sqrt(var[o] + eps), bias[o] = (bias[o] - mean[o]) * scale[o] + beta[o];
  }
  std::vector<float> folded(w.size());
  for (int64_t o = 0; o < out; o++)
    for (int64_t i = 0; i < in; i++)
      for (int64_t k = 0; k < taps; k++)
        folded[size_t((o * taps + k) * in + i)] = float(w[size_t((o * in + i) * taps + k)] * scale[size_t(o)]);
  to.add_values(name + ".weight", {out, t.shape[2], t.shape[3], in}, folded);
  to.add_values(name + ".bias", {out}, {bias.begin(), bias.end()});
}

/// The columns of a tensor (..., 4 c), stored as (x, y, channel), as (y, x, channel).
void add_merging(const Weights& file, const StoredTensor& t, Weights& to) {
  if (t.shape.empty() || t.shape.back() % 4 || t.shape.back() == 0)
    fail(Exit::data, "{}: {}: shape {}, expected a multiple of four columns", file.path(), t.name, t.shape_text());
  const int64_t columns = t.shape.back(), c = columns / 4;
  const auto from = file.read<float>(t.name);
  std::vector<float> sorted(from.size());
  for (int64_t e = 0; e < t.size; e++) {
    const int64_t x = e % columns / c / 2, y = e % columns / c % 2;
    sorted[size_t(e / columns * columns + (2 * y + x) * c + e % c)] = from[size_t(e)];
  }
  to.add_values(t.name, t.shape, sorted);
}

}  // namespace

Weights folded_resnet(const Weights& file) {
  const double eps = double(eps_of(file));
  Weights to = file.without_tensors();
  const auto stages = file.metadata().find("stages");
  for (const StoredTensor& t : file.tensors()) {
    if (t.name.starts_with("layer") && stages != file.metadata().end() && t.name.substr(5, t.name.find('.') - 5) > stages->second) continue;
    const size_t at = t.name.rfind("conv"), end = t.name.rfind(".weight");
    if (end == std::string::npos) continue;
    const std::string conv = t.name.substr(0, end);
    if (conv.ends_with("downsample.0"))
      add_convolution(file, conv, conv.substr(0, conv.size() - 1) + "1", conv.substr(0, conv.size() - 2), eps, to);
    else if (at != std::string::npos && end == at + 5)
      add_convolution(file, conv, t.name.substr(0, at) + "bn" + t.name[at + 4], conv, eps, to);
    else if (!file.find(conv + ".running_var"))
      fail(Exit::data, "{}: {}: expected convolutions and batch norms with torchvision's names", file.path(), t.name);
  }
  return to;
}

Weights folded_swin(const Weights& file) {
  const double eps = double(eps_of(file));
  Weights to = file.without_tensors();
  add_convolution(file, "patch_embed.proj.0", "patch_embed.proj.1", "patch_embed.proj.0", eps, to);
  add_convolution(file, "patch_embed.proj.3", "patch_embed.proj.4", "patch_embed.proj.1", eps, to);
  add_convolution(file, "patch_embed.proj.6", "", "patch_embed.proj.2", eps, to);
  for (const StoredTensor& t : file.tensors()) {
    if (t.name.starts_with("patch_embed.proj.")) continue;
    if (t.name.find(".downsample.") != std::string::npos) add_merging(file, t, to);
    else to.add(t);
  }
  return to;
}

}  // namespace stflow
