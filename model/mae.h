// A masked autoencoder (He et al., CVPR 2022) around our ViT: the encoder sees a quarter of a tile's patches, a small decoder
// tells the pixels of the others. Two more tasks keep what a linear model of expression needs within linear reach: every
// token tells its patch's statistics, the class token those of all that is seen (tile_statistics.h).
#pragma once
#include <array>
#include <span>
#include <string>
#include <vector>

#include "engine/random.h"
#include "model/tile_statistics.h"
#include "model/vit.h"

namespace stflow {

struct MaeConfig {
  VitConfig vit;
  double hidden = 0.75;  // share of the patches that the encoder does not see
  int64_t decoder_dim = 128, decoder_depth = 1, decoder_heads = 4;

  [[nodiscard]] int64_t visible() const;
};

/// Mean and deviation of the tile statistics over a sample of tiles: the scale on which they are learned.
struct StatisticScale {
  std::array<float, kTileStatistics> mean{}, deviation{};
};

/// What one step reads: views into arrays that fill() writes, one image at a time.
class MaeBatch {
 public:
  MaeBatch(const MaeConfig& config, int64_t images, const Context& context = {});

  /// Image i from a tile's optical densities (size, size, 3); `key` chooses the hidden patches. Images may be filled in parallel.
  void fill(int64_t i, const float* density, const RandomKey& key, const StatisticScale& scale);

  /// After all fill()s: what they wrote goes to the context's device.
  void send() const;

  [[nodiscard]] int64_t images() const { return images_; }

 private:
  friend struct Mae;
  MaeConfig config_;
  int64_t images_;
  Staged patches_;                                       // (images, visible, 3 patch^2), normalised as the encoder wants it
  Staged cells_, order_;                                 // (images, visible), (images, grid)
  Staged pixels_, hidden_;                               // (images, 1 + grid, 3 patch^2 and kPatchStatistics): what the decoder has to tell
  Staged own_, tile_;                                    // (images, 1 + visible, kPatchStatistics), (images, kTileStatistics)
  Staged hidden_weight_, visible_weight_, tile_weight_;  // of the rows of the three
  Staged zero_;
};

struct Mae {
  MaeConfig config;
  Vit vit;
  Linear embed, pixels_head, hidden_head, own_head, tile_head;
  Parameter mask_token, decoder_position;
  std::vector<VitBlock> blocks;
  std::vector<std::string> layer_names;
  LayerNorm norm;

  /// Everything but the ViT is called "decoder.*".
  Mae(ParameterSet& set, const MaeConfig& c);
  /// Sine-cosine position embeddings (He et al.) as the start of both learned ones; after set.allocate().
  void set_positions(const ParameterSet& set) const;

  struct Losses {
    Var total, pixels, hidden, own, tile;
  };  // scalars; total is the sum of the four
  Losses losses(Tape& tape, const MaeBatch& batch) const;
};

}  // namespace stflow
