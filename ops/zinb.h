// The zero-inflated negative binomial: its random numbers, its likelihood, and its fit to counts. It is the prior from
// which STFlow's flow starts.
#pragma once
#include <vector>

#include "engine/device.h"
#include "engine/tensor.h"
#include "ops/zinb_draw.h"

namespace stflow {

/// scvi-tools' parameters: mu = total_count * exp(logits), pi = sigmoid(zi_logits). The reference takes (1, 0.1, 0) for everything.
Zinb zinb_of_logits(double total_count, double logits, double zi_logits);

/// log P(x) for x = 0, 1, ...; -inf where P(x) = 0.
double log_likelihood(const Zinb& z, double x);

/// One draw for the spot of canonical rank `spot` (< 2^32) and `gene` (< 2^24): a pure function of its arguments. Exact
/// up to the 52 bits of a uniform number; of the 64 tries a rejection may take, one in 10^30 draws would need more.
double draw_zinb(const Zinb& z, const RandomKey& key, uint32_t spot, uint32_t gene);

/// The genes as a host table (G, 3) f64 of mu, theta, pi: a view. Throws (Exit::internal) unless each is a distribution.
Tensor zinb_table(const std::vector<Zinb>& genes);

/// out (n, G) f32 or f64 = draws for each spot and gene, or log(1 + draw). `genes` is a zinb_table() of G rows, or of one for
/// all. Where `mean` and `sd` (G) f64 are given, out becomes (out - mean) / sd, in float64.
/// A draw is keyed by rank (n) i32, the spot's position in barcode order, not by its row: permuting the spots permutes
/// the draws, and threads change nothing. On a device all tensors are in its memory, out is f32 and nothing waits; its log
/// and cos may differ from the host's in the last bit, and with it, rarely, a draw. There the key may be at the place `now` of its memory.
void sample_zinb(const Context& context, const Tensor& genes, const Tensor& rank, const RandomKey& key, bool log1p, const Tensor& mean,
                 const Tensor& sd, const Tensor& out, const KeyPlace* now = nullptr);
/// On the host, unscaled.
void sample_zinb(const std::vector<Zinb>& genes, const Tensor& rank, const RandomKey& key, bool log1p, const Tensor& out);
/// What sample_zinb() does on a device.
void zinb_draws(Cuda on, const Tensor& genes, const Tensor& rank, const RandomKey& key, bool log1p, const Tensor& mean, const Tensor& sd,
                const Tensor& out, const KeyPlace* now);

/// Maximum likelihood per gene for counts (n, G) f32 or f64 with mu_ig = depth_i * m_g; returns mu = m_g. depth (n) f64 >= 0 is
/// each spot's relative sequencing depth (mean 1 keeps mu in counts); spots of depth 0 are left out.
/// Shrunk, so that rare genes stay sane: half a count of the average gene is added to m_g, log theta ~ N(median of the
/// genes' moment estimates, 2^2), and two spots' worth of evidence stand against inflation. pi is exactly 0 where
/// the likelihood does not rise from there, as on most sections.
std::vector<Zinb> fit_zinb(const Tensor& counts, const Tensor& depth);

/// The negative binomial by moments: theta = clip(m^2 / max(v - m, 1e-3 m), 0.05, 100), pi = 0, with mean m and
/// (biased) variance v of each gene. counts (n, G).
std::vector<Zinb> fit_nb_moments(const Tensor& counts);

}  // namespace stflow
