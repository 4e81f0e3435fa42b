// stflow embed: features of patches, in the files that HEST-bench, STFlow and TRIDENT read.
#include <filesystem>
#include <memory>

#include "data/embeddings.h"
#include "engine/file.h"
#include "tools/commands.h"
#include "tools/device_flag.h"
#include "tools/embed_inputs.h"
#include "tools/json_out.h"
#include "tools/ranks.h"
#include "tools/signals.h"

namespace stflow {
namespace {

namespace fs = std::filesystem;

struct EmbedFlags {
  std::vector<std::string> given;
  std::string out, coordinates, layout = "hest";
  bool overwrite = false, resume = false;
  DataFlags data;
  SlideFlags slides;
  TissueFlags tissue;
  DeviceFlag device;
  RankFlags ranks;
};

/// Refused before there is work to lose; under --resume a file is kept if the same encoder made it.
bool is_finished(const std::string& path, const EmbeddingHeader& header, bool resume, bool overwrite) {
  if (!fs::exists(path) || overwrite) return false;
  if (!resume) fail(Exit::create, "{}: exists, expected a new file; pass --overwrite, or --resume to keep what is finished", path);
  const Embeddings there = load_embeddings(path);
  if (there.origin != header.origin)
    fail(Exit::data, "{}: {}, expected {} to be kept; --overwrite replaces it", path, text_of(there.origin), text_of(header.origin));
  return true;
}

// Which samples are this rank's. All ranks must have been given the same.
std::vector<bool> share_of(const EmbedInputs& inputs, const PatchEncoder& encoder, const EmbedFlags& f, Team& team) {
  std::string text = fmt::format("encoder: {}\nlayout: {}\nout: {}\n", text_of(encoder.origin()), f.layout, f.out);
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < inputs.jobs.size(); i++) {
    sizes.push_back(inputs.jobs[i].count);
    text += fmt::format("sample {} of {} patches\n", inputs.headers[i].sample, sizes[i]);
  }
  team.same("what is to be done", text);
  return own_of(sizes, team, "embed");
}

int embed_as(Team& team, EmbedFlags& f) {
  const ChosenDevice device = choose_device(f.device, team.place().local_rank);
  f.data.encoder.context = device.context;
  PatchEncoder encoder(f.data.encoder);
  EmbedInputs inputs = embed_inputs(f.given, f.coordinates, f.data, f.slides, f.tissue, encoder);
  const std::vector<bool> own = share_of(inputs, encoder, f, team);

  make_output_folder(inputs.one ? folder_of(f.out) : f.out);
  JsonOut json = JsonOut::object();
  std::vector<PatchJob> jobs;
  std::vector<std::unique_ptr<EmbeddingWriter>> writers(inputs.jobs.size());
  int64_t patches = 0;
  for (size_t i = 0; i < inputs.jobs.size(); i++) {
    const EmbeddingHeader& header = inputs.headers[i];
    const std::string path = inputs.one ? f.out : f.out + "/" + header.sample + ".h5";
    json[header.sample] = {{"file", path}, {"patches", inputs.jobs[i].count}, {"dim", header.dim}};
    if (const auto m = inputs.missing.find(header.sample); m != inputs.missing.end()) json[header.sample]["missing"] = m->second;
    if (!own[i] || is_finished(path, header, f.resume || team.place().restart > 0, f.overwrite)) continue;
    PatchJob job = std::move(inputs.jobs[i]);
    patches += job.count;
    auto& writer = writers[i];
    const auto kind = f.layout == "hest" ? EmbeddingLayout::hest : EmbeddingLayout::trident;
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
  static_cast<void>(team.collect("end", ""));
  if (!team.lead()) return 0;
  if (terminal::settings().json) print_json(json);
  else
    for (const auto& [sample, what] : json.items())
      terminal::info("{}: {} patches in {}", sample, what["patches"].get<int64_t>(), what["file"].get<std::string>());
  return 0;
}

}  // namespace

int embed(const Args& args) {
  EmbedFlags f;
  Options o("embed", "Turns patches of tissue into features with an image encoder.",
            "stflow embed sections/manifest.csv --encoder weights/vit.safetensors -o embeddings/");
  o.argument(
       "input", &f.given,
       "manifest or folder of sections; HDF5 files with patches (HEST) or a folder of them; tile images or a folder of them; slides or a "
       "folder of them; with --coords one slide or image")
      .placeholder("INPUT");
  o.section("Data");
  o.flag("coords", &f.coordinates, "where to cut patches from INPUT: CSV with x and y (centres), or TRIDENT's or CLAM's HDF5 file")
      .placeholder("FILE");
  declare_encoder(o, f.data.encoder);
  o.flag("batch-size", &f.data.encoder.batch,
         "patches that are computed together; 0: as many as fit a processor's cache (the features do not depend on it)")
      .range(0, 4096);
  declare_reading(o, f.data);
  declare_slide(o, f.slides);
  declare_tissue(o, f.tissue);
  o.section("Output");
  o.flag("out", &f.out, "HDF5 file; for several samples a folder of <sample>.h5").placeholder("FILE").letter('o');
  o.flag("layout", &f.layout, "hest: embeddings, coords, barcodes; trident: features, coords and its attributes")
      .choices({"hest", "trident"});
  o.flag("overwrite", &f.overwrite, "replace earlier files");
  o.flag("resume", &f.resume, "keep what an earlier run has finished");
  declare_device(o, f.device);
  declare_ranks(o, f.ranks);
  if (!o.parse(args)) return 0;
  if (f.out.empty()) fail(Exit::usage, "--out: found nothing, expected a file to write");
  catch_stop_signals();
  return as_rank(f.ranks, o, [&](Team& team) { return embed_as(team, f); });
}

}  // namespace stflow
