// stflow verify: the real model code against golden numbers of the reference.
#include "engine/device.h"
#include "model/golden.h"
#include "tools/commands.h"
#include "tools/device_flag.h"
#include "tools/json_out.h"

namespace stflow {

int verify(const Args& args) {
  std::string golden;
  double tolerance = 1e-5;
  bool float64 = false;
  DeviceFlag device_flag;
  Options o("verify", "Recomputes every quantity of a golden file with the model code and compares.",
            "stflow verify --golden tests/fixtures/denoiser_small.safetensors");
  o.flag("golden", &golden, "safetensors file of golden numbers").placeholder("FILE");
  o.flag("tolerance", &tolerance, "largest relative error allowed").at_least(0);
  o.flag("float64", &float64, "compute in float64 instead of float32");
  declare_device(o, device_flag);
  if (!o.parse(args)) return 0;
  if (golden.empty()) fail(Exit::usage, "--golden: found nothing, expected a file");

  if (float64 && device_flag.device == "auto") device_flag.device = "cpu";  // the GPU's kernels are float32
  const ChosenDevice device = choose_device(device_flag);
  if (float64 && device.context.device == Device::cuda) fail(Exit::usage, "--float64: found --device cuda, expected cpu");
  const std::vector<GoldenLine> lines = check_golden(SafeTensors(golden), float64 ? DType::f64 : DType::f32, device.context);
  size_t bad = 0;
  JsonOut quantities = JsonOut::object();
  double worst = 0;
  for (const GoldenLine& l : lines) {
    const bool passed = l.error <= tolerance;
    bad += !passed;
    if (!(l.error <= worst)) worst = l.error;
    quantities[l.name] = l.error;
    if (!terminal::settings().json) terminal::result(fmt::format("{:<10.3e} {} {}\n", l.error, passed ? "ok  " : "FAIL", l.name));
  }
  const std::string summary = fmt::format("{} quantities, {} beyond {:g}; worst {:.3e} ({}, {})\n", lines.size(), bad, tolerance, worst,
                                          float64 ? "float64" : "float32", device.text);
  if (terminal::settings().json)
    print_json(JsonOut{{"file", golden}, {"tolerance", tolerance}, {"worst", worst}, {"failed", bad}, {"errors", quantities}});
  else terminal::result(summary);
  return bad ? int(Exit::mismatch) : 0;
}

}  // namespace stflow
