// stflow embed: features of patches, in the files that HEST-bench, STFlow and TRIDENT read.
#include <filesystem>
#include <memory>

#include "data/embeddings.h"
#include "engine/file.h"
#include "tools/commands.h"
#include "tools/device_flag.h"
#include "tools/embed_inputs.h"
#include "tools/json_out.h"
#include "tools/signals.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

/// Refused before there is work to lose; under --resume a file is kept if the same encoder made it.
bool is_finished(const std::string& path, const EmbeddingHeader& header, bool resume, bool overwrite) {
  if (!fs::exists(path) || overwrite) return false;
  if (!resume) fail(Exit::create, "{}: exists, expected a new file; pass --overwrite, or --resume to keep what is finished", path);
  const Embeddings there = load_embeddings(path);
  if (there.origin != header.origin)
    fail(Exit::data, "{}: {}, expected {} to be kept; --overwrite replaces it", path, text_of(there.origin), text_of(header.origin));
  return true;
}

}  // namespace

int embed(const Args& args) {
  std::vector<std::string> given;
  std::string out, coordinates, layout = "hest";
  bool overwrite = false, resume = false;
  DataFlags data;
  SlideFlags slides;
  DeviceFlag device_flag;
  Options o("embed", "Turns patches of tissue into features with an image encoder.",
            "stflow embed sections/manifest.csv --encoder weights/vit.safetensors -o embeddings/");
  o.argument(
       "input", &given,
       "manifest or folder of sections; HDF5 files with patches (HEST) or a folder of them; tile images or a folder of them; with --coords "
       "one slide or image")
      .placeholder("INPUT");
  o.section("Data");
  o.flag("coords", &coordinates, "where to cut patches from INPUT: CSV with x and y (centres), or TRIDENT's or CLAM's HDF5 file")
      .placeholder("FILE");
  declare_encoder(o, data.encoder);
  o.flag("batch-size", &data.encoder.batch,
         "patches that are computed together; 0: as many as fit a processor's cache (the features do not depend on it)")
      .range(0, 4096);
  declare_reading(o, data);
  declare_slide(o, slides);
  o.section("Output");
  o.flag("out", &out, "HDF5 file; for several samples a folder of <sample>.h5").placeholder("FILE").letter('o');
  o.flag("layout", &layout, "hest: embeddings, coords, barcodes; trident: features, coords and its attributes")
      .choices({"hest", "trident"});
  o.flag("overwrite", &overwrite, "replace earlier files");
  o.flag("resume", &resume, "keep what an earlier run has finished");
  declare_device(o, device_flag);
  if (!o.parse(args)) return 0;
  if (out.empty()) fail(Exit::usage, "--out: found nothing, expected a file to write");
  const ChosenDevice device = choose_device(device_flag);
  catch_stop_signals();
  data.encoder.context = device.context;
  PatchEncoder encoder(data.encoder);
  EmbedInputs inputs = embed_inputs(given, coordinates, data, slides, encoder);

  make_output_folder(inputs.one ? folder_of(out) : out);
  JsonOut json = JsonOut::object();
  std::vector<PatchJob> jobs;
  std::vector<std::unique_ptr<EmbeddingWriter>> writers(inputs.jobs.size());
  int64_t patches = 0;
  for (size_t i = 0; i < inputs.jobs.size(); i++) {
    const EmbeddingHeader& header = inputs.headers[i];
    const std::string path = inputs.one ? out : out + "/" + header.sample + ".h5";
    json[header.sample] = {{"file", path}, {"patches", inputs.jobs[i].count}, {"dim", header.dim}};
    if (!inputs.missing.empty()) json[header.sample]["missing"] = inputs.missing;
    if (is_finished(path, header, resume, overwrite)) continue;
    PatchJob job = std::move(inputs.jobs[i]);
    patches += job.count;
    auto& writer = writers[i];
    const auto kind = layout == "hest" ? EmbeddingLayout::hest : EmbeddingLayout::trident;
    job.row = [&writer, &header, path, kind](int64_t row, const float* features) {
      if (!writer) writer = std::make_unique<EmbeddingWriter>(path, kind, header);
      writer->put(row, features);
    };
    job.done = [&writer] {
      writer->commit();
      writer.reset();
    };
    jobs.push_back(std::move(job));
  }
  terminal::info("embed: {} patches of {} samples, {} features each; {}; {}", patches, jobs.size(), encoder.dim(),
                 text_of(encoder.origin()), device.text);
  terminal::Progress progress("embed", patches);
  embed_patches(encoder, jobs, progress);
  progress.finish();
  if (terminal::settings().json) print_json(json);
  else
    for (const auto& [sample, what] : json.items())
      terminal::info("{}: {} patches in {}", sample, what["patches"].get<int64_t>(), what["file"].get<std::string>());
  return 0;
}

}  // namespace stflow
