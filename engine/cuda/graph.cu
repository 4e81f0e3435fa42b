#include "engine/cuda/graph.h"

#include "engine/cuda/cuda.h"

namespace stflow {

#ifdef __CUDACC__
struct CudaGraph::Recorded {
  cudaGraphExec_t exec = nullptr;
  size_t nodes = 0;
  cudaStream_t last = nullptr;  // in which it was started
  Recorded() = default;
  Recorded(const Recorded&) = delete;
  Recorded& operator=(const Recorded&) = delete;
  ~Recorded() {
    (void)cudaStreamSynchronize(last);  // it may still run
    (void)cudaGraphExecDestroy(exec);
  }
};

CudaGraph::CudaGraph(const char* name, void* stream, const std::function<void()>& work) : recorded_(std::make_unique<Recorded>()) {
  const cudaStream_t s = recorded_->last = stream_of({stream});
  cudaGraph_t graph = nullptr;
  // What other threads do meanwhile (NCCL's, for one) does not matter.
  cuda_check(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), name);
  try {
    work();
  } catch (...) {
    (void)cudaStreamEndCapture(s, &graph);  // the stream is usable again
    if (graph) (void)cudaGraphDestroy(graph);
    throw;
  }
  cuda_check(cudaStreamEndCapture(s, &graph), name);
  cuda_check(cudaGraphGetNodes(graph, nullptr, &recorded_->nodes), name);
  cuda_check(cudaGraphInstantiate(&recorded_->exec, graph, 0), name);
  cuda_check(cudaGraphDestroy(graph), name);
  cuda_check(cudaGraphUpload(recorded_->exec, s), name);  // now, not in the first replay
}

void CudaGraph::replay(void* stream) const {
  recorded_->last = stream_of({stream});
  cuda_check(cudaGraphLaunch(recorded_->exec, recorded_->last), "graph");
}
size_t CudaGraph::nodes() const { return recorded_->nodes; }
#else
struct CudaGraph::Recorded {
  emulator::Recording work;
};

CudaGraph::CudaGraph(const char* name, void*, const std::function<void()>& work)
    : recorded_(std::make_unique<Recorded>(Recorded{emulator::record(name, work)})) {}
void CudaGraph::replay(void*) const { emulator::replay(recorded_->work); }
size_t CudaGraph::nodes() const { return recorded_->work.size(); }
#endif

CudaGraph::CudaGraph(CudaGraph&&) noexcept = default;
CudaGraph& CudaGraph::operator=(CudaGraph&&) noexcept = default;
CudaGraph::~CudaGraph() = default;

}  // namespace stflow
