// STFlow's denoiser f(Y_t, features, coordinates, t) -> Y_1 (STFLOW.md 1-5), under the reference's parameter names.
#pragma once
#include <string>
#include <vector>

#include "model/layers.h"
#include "ops/dropout.h"
#include "ops/graph.h"

namespace stflow {

struct DenoiserConfig {
  int64_t features = 1024;  // F
  int64_t genes = 50;       // G
  int64_t hidden = 128;     // d
  int64_t pairwise = 128;   // d_e, width of an edge
  int64_t layers = 4;       // L
  int64_t heads = 4;        // H; divides d and d_e
  float dropout = 0.2f, attention_dropout = 0.2f;
  bool gene_relu = false;  // the other published reading of "non_negative" (STFLOW.md 12)
};

/// Throws Exit::usage for sizes that no denoiser can have: widths that heads do not divide, or that the fused edge kernels have no
/// room for. A Denoiser's constructor asks it; commands ask before any work.
void check_sizes(const DenoiserConfig& config);

/// Deals out the dropouts of one training item in the order of recording; none when not training.
struct Dropouts {
  bool training = false;
  RandomKey key;
  uint32_t next = 0;
  const KeyPlace* now = nullptr;  // as of Dropout
  Dropout operator()(float p) { return training && p > 0 ? Dropout{p, key, next++, now} : Dropout{}; }
};

/// The reference's SwiGLU block: in -> packed (2m) -> gate, dropout, norm (m) -> out, dropout.
struct GatedMlp {
  Linear fc1;
  LayerNorm norm;
  Linear fc2;

  GatedMlp() = default;
  GatedMlp(ParameterSet&, const std::string& name, int64_t in, int64_t packed, int64_t out);
  Var operator()(Var x, Dropouts&, float p) const;
};

/// One spatial attention layer with its token MLP and gene head.
struct SpatialBlock {
  std::string name;  // "backbone.blks.<l>"
  LayerNorm qkv_norm;
  Linear qkv;
  GatedMlp score, edge, output, mlp;
  Linear gene_in, gene_out;
  LayerNorm gene_norm;
};

class Denoiser {
 public:
  /// Declares its parameters in `set`; the caller allocates. Throws as check_sizes() does.
  Denoiser(ParameterSet& set, const DenoiserConfig& config);
  [[nodiscard]] const DenoiserConfig& config() const { return config_; }

  /// What depends on the slide alone: image tokens (n, d) before the time embedding, and edge features (n, k, d_e) of each
  /// layer, averaged over the sign frames. Computed once for all evaluations and samples of a slide.
  struct Slide {
    Var tokens;
    Vars edges;
  };
  /// features (n, F); frames (n, k, F', 3) from frame averaging.
  Slide slide(Var features, Var frames, Dropouts& dropouts) const;

  /// Every quantity that golden files name.
  struct Output {
    Var prediction, time;  // (n, G), (1, d)
    Vars tokens, genes, attention, scores;
  };
  /// genes = Y_t (n, G), time (1). The prediction is the mean over layers of the gene heads. `graph` must outlive the program.
  Output step(Var genes, Var time, const Slide& slide, const Graph& graph, Dropouts& dropouts) const;

 private:
  Var attention(const SpatialBlock&, Var tokens, Var genes, Var edges, const Graph&, Dropouts&, Output&) const;

  DenoiserConfig config_;
  Linear image_, time_in_, time_out_;
  std::vector<SpatialBlock> blocks_;
};

}  // namespace stflow
