// Frame averaging in two dimensions (Puny et al., ICLR 2022), as STFlow uses it: each spot looks at its neighbours in
// the axes of their own covariance, and what is computed there is averaged over the axes' undecided signs.
#pragma once
#include "ops/graph.h"

namespace stflow {

/// reference: the four sign frames of the covariance's axes, as the authors do. Where the neighbours have no preferred
/// axis (complete shells of a lattice) any axes are as good, and the result depends on the slide's pose.
/// exact: the same wherever axes exist; else the mean over all rotations, so that nothing depends on the pose.
enum class FrameMode { reference, exact };

/// Below this anisotropy (lambda_1 - lambda_2) / (lambda_1 + lambda_2) in [0, 1] the axes count as undefined.
inline constexpr double kMinAnisotropy = 1e-6;

/// What the edge network eats, in memory owned and reused, the host's or the device's.
struct Frames {
  Tensor values;           // (n, k, count, 3): [minor, major, distance] of the edge in each frame
  int count = 4;           // frames of every edge; 8 when the mode is exact and some spot of the slide is degenerate
  int64_t degenerate = 0;  // spots without defined axes; not counted in mode reference, where their values are arbitrary

  Storage scratch;  // of whoever fills them

  explicit Frames(Device device = Device::cpu) : scratch(0, device), memory_(0, device) {}
  /// Shapes `values`; content undefined.
  void resize(int64_t n, int k, int count, DType type);

 private:
  Storage memory_;
};

/// Fills `frames` (type f32 or f64) for coords (n, 2) f64 and its graph, in float64 up to the last cast. Lengths are
/// divided by `unit`. The offsets x_j = C_j - C_i are centred on the neighbours' mean and projected on the axes; the
/// distance stays ||C_j - C_i||. There are `least` frames or more: a part of a slide that is to have as many as the whole asks for 8.
/// Ordinary spot: (-p,-q), (-p,+q), (+p,-q), (+p,+q), p and q >= 0 the lengths along the minor and major axis (twice
/// over when count is 8). Degenerate spot: the circle of radius ||centred x_j|| at angles 22.5, 67.5, ... degrees,
/// counted from the edge itself, so that no axis is referred to. Neighbours all in one place: p = q = 0.
void average_frames(const Tensor& coords, const Graph& graph, FrameMode mode, double unit, DType type, Frames& frames, int least = 4);
/// The same where all of it is in the device's memory and `type` is f32. In mode exact it waits for the device, for the number of
/// degenerate spots.
void average_frames(Cuda on, const Tensor& coords, const Graph& graph, FrameMode mode, double unit, DType type, Frames& frames,
                    int least = 4);
/// Spots of a host's graph without defined axes.
int64_t degenerate_spots(const Tensor& coords, const Graph& graph);

}  // namespace stflow
