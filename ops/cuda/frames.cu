// At 10,000 spots with 8 neighbours on an H100 (3.0 TB/s): reads coordinates and lists twice and distances, 1.6 MB, and writes the frames,
// 3.8 MB (7.7 where 8 are needed): 1.8 us. A thread takes an edge and works out its spot's axes again, from L1, so that they need no
// memory. In mode exact the number of degenerate spots comes to the host in between, which decides how many frames there are.
#include "engine/cuda/cuda.h"
#include "ops/frame_axes.h"

namespace stflow {
namespace {

constexpr unsigned kThreads = 128;

__device__ int64_t element() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

__global__ void degenerate_kernel(Neighbourhoods a, int* degenerate) {
  if (element() < a.n && Axes(a, element()).kind == Axes::circle) count_up(degenerate);
}

__global__ void frames_kernel(Neighbourhoods a, float* __restrict__ values) {
  const int64_t edge = element(), i = edge / a.k;
  if (edge < a.n * a.k) write_frames(a, Axes(a, i), i, edge, values + edge * a.count * 3);
}

}  // namespace

void average_frames(Cuda on, const Tensor& coords, const Graph& graph, FrameMode mode, double unit, DType type, Frames& frames, int least) {
  check(type == DType::f32 && graph.device() == Device::cuda, "frames: {} on the device, expected f32 and a graph there", name_of(type));
  Neighbourhoods a(coords, graph, mode, unit);
  int degenerate = 0;
  if (a.exact && a.k > 0) {
    frames.scratch.reserve(sizeof(int));
    auto* counter = static_cast<int*>(frames.scratch.data());
    fill(Device::cuda, counter, 0, sizeof(int), on.stream);
    launch("frames_degenerate", degenerate_kernel, {blocks_for(a.n, kThreads), kThreads, 0, stream_of(on)}, a, counter);
    copy(Device::cpu, &degenerate, Device::cuda, counter, sizeof(int), on.stream);
  }
  a.shape(degenerate, least, type, frames);
  launch("frames", frames_kernel, {blocks_for(a.n * a.k, kThreads), kThreads, 0, stream_of(on)}, a, frames.values.as<float>());
}

}  // namespace stflow
