// The zero-inflated negative binomial: its random numbers, its likelihood, and its fit to counts. It is the prior from
// which STFlow's flow starts.
#pragma once
#include <vector>

#include "engine/random.h"
#include "engine/tensor.h"

namespace stflow {

/// x = 0 with probability pi, else x ~ Poisson(w), w ~ Gamma(shape theta, mean mu).
/// Mean (1 - pi) mu; variance (1 - pi) mu (1 + mu / theta + pi mu); P(0) = pi + (1 - pi) (theta / (theta + mu))^theta.
struct Zinb {
  double mu = 0, theta = 1, pi = 0;  // mu >= 0, theta > 0 (the inverse dispersion), pi in [0, 1]
};

/// scvi-tools' parameters: mu = total_count * exp(logits), pi = sigmoid(zi_logits). The reference takes (1, 0.1, 0) for everything.
Zinb zinb_of_logits(double total_count, double logits, double zi_logits);

/// log P(x) for x = 0, 1, ...; -inf where P(x) = 0.
double log_likelihood(const Zinb& z, double x);

/// One draw for the spot of canonical rank `spot` (< 2^32) and `gene` (< 2^24): a pure function of its arguments. Exact
/// up to the 52 bits of a uniform number; of the 64 tries a rejection may take, one in 10^30 draws would need more.
double draw_zinb(const Zinb& z, const RandomKey& key, uint32_t spot, uint32_t gene);

/// out (n, G) f32 or f64 = draws for each spot and gene, or log(1 + draw). `genes` holds G entries, or one for all.
/// A draw is keyed by rank (n) i32, the spot's position in barcode order, not by its row: permuting the spots permutes
/// the draws, and threads change nothing.
void sample_zinb(const std::vector<Zinb>& genes, const Tensor& rank, const RandomKey& key, bool log1p, Tensor out);

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
