// stflow bench: what this machine gives, and what stflow makes of it.
#include "tools/bench/bench.h"

#include <algorithm>
#include <charconv>

#include "engine/device.h"
#include "engine/threads.h"
#include "engine/version.h"
#include "tools/commands.h"
#include "tools/encoder/patch_encoder.h"
#include "tools/memory.h"

namespace stflow {
namespace {

std::vector<int64_t> whole_numbers(const char* flag, const std::vector<std::string>& words) {
  std::vector<int64_t> out;
  for (const std::string& w : words) {
    int64_t n = 0;
    const auto [end, error] = std::from_chars(w.data(), w.data() + w.size(), n);
    if (error != std::errc() || end != w.data() + w.size() || n < 1 || n > 10'000'000)
      fail(Exit::usage, "--{}: found '{}', expected whole numbers from 1 to 10000000", flag, w);
    out.push_back(n);
  }
  return out;
}

std::string milliseconds(const JsonOut& seconds) { return fmt::format("{:.3f}", 1e3 * seconds.get<double>()); }

std::string text_of(const JsonOut& rows) {
  terminal::Table table({"", "size", "median ms", "best ms", "runs", "GFLOP/s", "% of peak", "GB/s", "times the floor", "arena", "process",
                         "device", "90 % at step of ms"});
  for (const JsonOut& r : rows) {
    const auto number = [&](const char* key, const char* unit = "") {
      return r.contains(key) ? fmt::format("{:.1f}{}", r[key].get<double>(), unit) : std::string();
    };
    const auto memory = [&](const char* key) { return r.contains(key) ? terminal::bytes(r[key].get<uint64_t>()) : std::string(); };
    const std::string size = r.contains("spots")    ? fmt::format("{} spots", r["spots"].get<int64_t>())
                             : r.contains("images") ? fmt::format("{} images", r["images"].get<int64_t>())
                             : r.contains("shape")  ? r["shape"].dump()
                             : r.contains("bytes")
                                 ? fmt::format("{} ranks, {}", r["ranks"].get<int>(), terminal::bytes(r["bytes"].get<uint64_t>()))
                                 : "";
    const std::string name = r["group"].get<std::string>() + (r.contains("name") ? ": " + r["name"].get<std::string>() : "");
    const char* time = r.contains("reckoned_seconds") ? "reckoned_seconds" : "median_seconds";
    const auto measured = [&](const char* key) { return r.contains(key) ? milliseconds(r[key]) : std::string(); };
    table.row({name, size, milliseconds(r[time]), measured("best_seconds"), r.contains("runs") ? r["runs"].dump() : "", number("gflops"),
               number("percent_of_peak"), number("gigabytes_per_second"), number("times_the_floor"), memory("arena_bytes"),
               memory("peak_rss_bytes"), memory("device_bytes"), measured("step_for_90_percent")});
  }
  return table.text();
}

}  // namespace

int bench(const Args& args) {
  std::string what = "all";
  DeviceFlag device;
  double seconds = 2, limit = 120;
  std::string precision = "f32", max_mem = "4G";
  std::vector<std::string> spots_text{"200", "3000", "10000"}, images_text{"1", "8"}, sizes{"B/16"};
  Options o("bench", "Times the operators, a training step and sampling on this machine.", "stflow bench step --threads 2 --json");
  o.argument("what", &what, "what to time")
      .choices({"all", "step", "sample", "ops", "vit", "gemm", "peak", "allreduce", "slide"})
      .optional();
  o.flag("seconds", &seconds, "time for each row, after one run to warm up; at least three runs").range(0, 3600);
  o.flag("spots", &spots_text, "sizes of the slides of step, sample, slide and ops").placeholder("N,...");
  o.flag("images", &images_text, "batch sizes of vit").placeholder("N,...");
  o.flag("sizes", &sizes, "sizes of vit: S/16, B/16, L/16, g/14").placeholder("SIZE,...");
  o.flag("precision", &precision, "how vit's matrices are held").choices({"f32", "f16", "bf16", "int8", "tf32"});
  o.flag("max-mem", &max_mem, "memory for slide").placeholder("SIZE");
  o.flag("limit", &limit, "a vit that takes longer than this many seconds is run once").at_least(0);
  declare_device(o, device);
  if (!o.parse(args)) return 0;
  const std::vector<int64_t> spots = whole_numbers("spots", spots_text), images = whole_numbers("images", images_text);

  for (const std::string& s : sizes)
    if (std::find(benchmark::kVitSizes.begin(), benchmark::kVitSizes.end(), s) == benchmark::kVitSizes.end())
      fail(Exit::usage, "--sizes: found '{}', expected S/16, B/16, L/16 or g/14", s);

  const JsonOut probe = benchmark::in_child([&] { return benchmark::measure_peak(seconds < 1 ? seconds : 1); });
  const double peak = probe["gflops"].get<double>();
  JsonOut rows = JsonOut::array();
  const auto add = [&](const char* group, const JsonOut& row) {
    JsonOut all{{"group", group}};
    all.update(row);
    if (all.contains("gflops") && !all.contains("percent_of_peak")) all["percent_of_peak"] = 100 * all["gflops"].get<double>() / peak;
    rows.push_back(all);
  };
  std::vector<DeviceFlag> ways{device};  // in which a GPU is given a step or a sampling run
  if (device.device.starts_with("cuda") && device.graph) ways.push_back(device), ways.back().graph = false;
  const auto wanted = [&](const char* group) { return what == "all" || what == group; };
  add("peak", probe);
  if (wanted("gemm")) {
    terminal::info("gemm");
    for (const JsonOut& row : benchmark::in_child([&] { return JsonOut(benchmark::measure_gemm(seconds / 4)); })) add("gemm", row);
  }
  if (wanted("vit"))
    for (const std::string& size : sizes)
      for (const int64_t n : images) {
        terminal::info("vit {}, {} images", size, n);
        add("vit", benchmark::in_child([&] { return benchmark::measure_vit(size, precision_of(precision), n, seconds, limit, device); }));
      }
  for (const char* preset : {"reference", "default"})
    for (const int64_t n : spots) {
      if (wanted("step")) {
        terminal::info("step, {} preset, {} spots", preset, n);
        for (const DeviceFlag& way : ways)
          add("step", benchmark::in_child([&] { return benchmark::measure_step(preset, n, seconds, way); }));
      }
      if (wanted("sample")) {
        terminal::info("sample, {} preset, {} spots", preset, n);
        for (const DeviceFlag& way : ways)
          add("sample", benchmark::in_child([&] { return benchmark::measure_sample(preset, n, seconds, way); }));
      }
    }
  if (wanted("slide"))
    for (const int64_t n : spots) {
      terminal::info("slide, {} spots", n);
      add("slide", benchmark::in_child([&] { return benchmark::measure_slide(n, parse_bytes("max-mem", max_mem), seconds, device); }));
    }
  if (wanted("ops"))
    for (const int64_t n : spots) {
      terminal::info("ops, {} spots", n);
      for (const JsonOut& row : benchmark::in_child([&] { return JsonOut(benchmark::measure_operators(n, seconds, device)); }))
        add("ops", row);
    }
  for (const char* preset : {"default", "reference"}) {
    if (!wanted("allreduce")) break;
    for (const int ranks : {2, 4})
      for (const bool ordered : {true, false}) {
        terminal::info("allreduce, {} preset, {} ranks", preset, ranks);
        add("allreduce", benchmark::in_child([&] { return benchmark::measure_allreduce(preset, ranks, ordered, seconds); }));
      }
    for (const JsonOut& row : benchmark::reckon_nccl(preset)) add("allreduce", row);
  }
  if (terminal::settings().json)
    print_json(JsonOut{{"version", kVersion},
                       {"instruction_set", name_of(best_isa())},
                       {"threads", thread_count()},
                       {"device", device.device},
                       {"peak_gflops", peak},
                       {"rows", rows}});
  else terminal::result(text_of(rows));
  return 0;
}

}  // namespace stflow
