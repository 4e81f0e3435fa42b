#include "tools/device_flag.h"

#include "engine/cuda/memory.h"
#include "engine/text.h"
#include "engine/threads.h"

namespace stflow {
namespace {

std::string cpu_text(const std::string& why) {
  return fmt::format("cpu{}, {}, {} threads", why.empty() ? "" : " (" + why + ")", name_of(best_isa()), thread_count());
}

}  // namespace

std::string text_of(const CudaDevice& d) {
  return fmt::format("{}, compute capability {}.{}, {} of {} free", d.name, d.major, d.minor, terminal::bytes(d.free),
                     terminal::bytes(d.total));
}

void declare_device(Options& o, DeviceFlag& f) {
  o.flag("device", &f.device, "auto, cpu, cuda or cuda:N").placeholder("DEVICE");
  o.flag("emulate", &f.emulate, "with --device cuda in a build without CUDA: run the GPU's kernels on the CPU, for tests");
  o.flag("graph", &f.graph, "on a GPU: start work that comes again as a whole; --no-graph goes kernel by kernel, to the same bits");
}

ChosenDevice choose_device(const DeviceFlag& f, int local_rank) {
  const std::string& d = f.device;
  if (d == "cpu") return {{}, cpu_text("")};
  int64_t number = d == "auto" || d == "cuda" ? 0 : d.starts_with("cuda:") ? parse_integer(d.substr(5)).value_or(-1) : -1;
  if (number < 0) fail(Exit::usage, "--device: found '{}', expected auto, cpu, cuda or cuda:N", d);
  Context on_gpu;
  on_gpu.device = Device::cuda, on_gpu.graphs = f.graph;
  if (f.emulate && cuda_is_emulated() && d != "auto") return {on_gpu, "cuda, emulated on the CPU"};
  std::string why;
  const std::vector<CudaDevice> devices = cuda_devices(why);
  if (d == "auto" && devices.empty()) return {{}, cpu_text("auto: " + why)};
  // Where each rank is shown one GPU only, that is the one.
  if (!d.starts_with("cuda:") && !devices.empty()) number = local_rank % int64_t(devices.size());
  if (size_t(number) >= devices.size())
    fail(Exit::device, "--device: found {}, expected {}", d,
         devices.empty() ? "cpu: " + why : fmt::format("cuda:0 to cuda:{}, as many as the driver shows", devices.size() - 1));
  cuda_use(int(number));
  return {on_gpu, fmt::format("cuda:{}{}, {}", number, d == "auto" ? " (auto)" : "", text_of(devices[size_t(number)]))};
}

}  // namespace stflow
