// What a tile looks like, in numbers: colour, contrast and texture of optical density at several scales. A masked autoencoder
// learns to tell them: of all it sees of a tile from its class token, of each patch from the patch's token.
#pragma once
#include <cstdint>

namespace stflow {

inline constexpr int kTileStatistics = 60, kPatchStatistics = 15;

/// density (size, size, 3); size is a multiple of patch, patch of 16. A difference belongs to its left or upper pixel.
/// tile (kTileStatistics), per channel unless said: mean, standard deviation, cube root of the third moment, the six
/// covariances, and on averages over 1, 2, 4, 8, 16 pixels: sum of the mean absolute differences to the right and down, standard
/// deviation, sum of the differences' deviations.
/// patches (n, kPatchStatistics), row by row, per channel: mean, log deviation, and log mean difference on averages over 1, 2, 4
/// pixels; scaled to about unit size.
/// `seen` (patches; null: all) says which patches the tile's numbers are taken from; at least one.
void tile_statistics(const float* density, int size, int patch, const uint8_t* seen, float* tile, float* patches);

}  // namespace stflow
