#include "engine/cuda/devices.h"

#include "engine/cuda/cuda.h"
#include "engine/cuda/memory.h"

#ifdef __CUDACC__
#include <cublasLt.h>
#endif

namespace stflow {

#ifdef __CUDACC__
namespace {

// 13000 is 13.0.
std::string version_text(int v) { return std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10); }

}  // namespace

std::vector<CudaDevice> cuda_devices(std::string& why_none) {
  int count = 0;
  const cudaError_t e = cudaGetDeviceCount(&count);
  if (e != cudaSuccess || count == 0) {
    (void)cudaGetLastError();
    why_none = e == cudaSuccess ? "the driver shows no GPU" : cudaGetErrorString(e);
    return {};
  }
  int current = 0;
  cuda_check(cudaGetDevice(&current), "devices");
  std::vector<CudaDevice> devices;
  for (int i = 0; i < count; i++) {
    cudaDeviceProp p{};
    cuda_check(cudaGetDeviceProperties(&p, i), "devices");
    CudaDevice d{p.name, p.major, p.minor, p.multiProcessorCount, 0, 0};
    cuda_check(cudaSetDevice(i), "devices");
    const CudaMemory m = cuda_memory();
    d.free = m.free, d.total = m.total;
    devices.push_back(d);
  }
  cuda_check(cudaSetDevice(current), "devices");
  return devices;
}

void cuda_use(int number) { cuda_check(cudaSetDevice(number), "device"); }

std::vector<std::pair<std::string, std::string>> cuda_versions() {
  int driver = 0, runtime = 0, part[3] = {};
  cuda_check(cudaDriverGetVersion(&driver), "driver version");
  cuda_check(cudaRuntimeGetVersion(&runtime), "runtime version");
  for (int i = 0; i < 3; i++) (void)cublasLtGetProperty(libraryPropertyType(i), &part[i]);
  return {{"CUDA driver", driver ? version_text(driver) : "none"},
          {"CUDA runtime", version_text(runtime)},
          {"cuBLASLt", std::to_string(part[0]) + "." + std::to_string(part[1]) + "." + std::to_string(part[2])}};
}

void* cuda_stream(void* stream) {
  if (stream) return stream;
  constexpr int kDevices = 64;
  static thread_local cudaStream_t own[kDevices] = {};  // they live as long as the process
  int device = 0;
  cuda_check(cudaGetDevice(&device), "stream");
  check(device < kDevices, "stream: device {}, expected at most {} devices", device, kDevices);
  if (!own[device]) cuda_check(cudaStreamCreate(&own[device]), "stream");  // ordered with the legacy default stream, if anything is there
  return own[device];
}

void cuda_wait() { cuda_check(cudaDeviceSynchronize(), "device"); }

bool cuda_done(void* stream) {
  const cudaError_t e = cudaStreamQuery(stream_of({stream}));
  if (e == cudaErrorNotReady) return false;
  cuda_check(e, "device");
  return true;
}

CudaStream::CudaStream() {
  cudaStream_t s = nullptr;
  cuda_check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "stream");
  stream_ = s;
}
CudaStream::~CudaStream() { (void)cudaStreamDestroy(static_cast<cudaStream_t>(stream_)); }

void cuda_follow(void* later, void* earlier) {
  cudaEvent_t e = nullptr;
  cuda_check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "event");
  cuda_check(cudaEventRecord(e, stream_of({earlier})), "event");
  cuda_check(cudaStreamWaitEvent(stream_of({later}), e, 0), "event");
  cuda_check(cudaEventDestroy(e), "event");  // at once for the host; the wait keeps it
}

CudaEvent::CudaEvent() {
  cudaEvent_t e = nullptr;
  cuda_check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "event");
  event_ = e;
}
CudaEvent::~CudaEvent() { (void)cudaEventDestroy(static_cast<cudaEvent_t>(event_)); }
void CudaEvent::record(void* stream) { cuda_check(cudaEventRecord(static_cast<cudaEvent_t>(event_), stream_of({stream})), "event"); }
void CudaEvent::wait() const { cuda_check(cudaEventSynchronize(static_cast<cudaEvent_t>(event_)), "event"); }
bool CudaEvent::done() const {
  const cudaError_t e = cudaEventQuery(static_cast<cudaEvent_t>(event_));
  if (e == cudaErrorNotReady) return false;
  cuda_check(e, "event");
  return true;
}
#else
std::vector<CudaDevice> cuda_devices(std::string& why_none) {
  why_none = "this build has no CUDA; `make CUDA=1` builds it in";
  return {};
}
void cuda_use(int) {}
std::vector<std::pair<std::string, std::string>> cuda_versions() { return {}; }
void* cuda_stream(void* stream) { return stream; }
void cuda_wait() { emulator::wait(); }
bool cuda_done(void* stream) {
  emulator::arrive(stream);
  return true;
}
CudaStream::CudaStream() : stream_(emulator::new_stream()) {}
CudaStream::~CudaStream() = default;
void cuda_follow(void* later, void* earlier) { emulator::follow(later, earlier); }
CudaEvent::CudaEvent() = default;
CudaEvent::~CudaEvent() = default;
void CudaEvent::record(void* stream) {
  emulator::refuse_recorded("an event");
  stream_ = stream, number_ = emulator::enqueued();
}
void CudaEvent::wait() const { emulator::wait(stream_, number_); }
bool CudaEvent::done() const { return emulator::arrived(stream_, number_); }
#endif

}  // namespace stflow
