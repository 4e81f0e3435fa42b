#include "tools/train_flags.h"

#include <type_traits>

#include "model/predictor.h"

namespace stflow {

void declare_train(Options& o, TrainFlags& f) {
  declare_data(o, f.data);
  o.flag("genes", &f.genes, "how many of the most variable genes, or a panel file (var_50genes.json)").placeholder("N|FILE");
  o.flag(
       "protocol", &f.protocol,
       "split: one model, for the sections' split; hest-bench: one for each fold of a HEST-bench task, with its genes, and HEST's results")
      .choices({"split", "hest-bench"});
  o.section("Model");
  o.flag("preset", &f.preset, "default: ours; reference: as the authors' code").choices({"default", "reference"});
  o.flag("n-layers", &f.layers, "spatial attention layers").range(1, 16);
  o.flag("hidden-dim", &f.hidden, "width of tokens and edges").range(4, 1024);
  o.flag("n-heads", &f.heads, "attention heads").range(1, 64);
  o.flag("n-neighbors", &f.neighbors, "neighbours of a spot").range(1, 256);
  o.flag("dropout", &f.dropout, "dropout rate everywhere").range(0, 0.9);
  o.flag("members", &f.members, "denoisers trained from different seeds and averaged").range(1, kMostMembers);
  o.flag("prior", &f.prior, "zinb, zinb:fixed, nb:moments, gaussian or zero");
  o.flag("frames", &f.frames, "frame averaging: exact or reference").choices({"exact", "reference"});
  o.flag("gene-activation", &f.gene_activation, "on each layer's genes: none or relu").choices({"none", "relu"});
  o.flag("standardize", &f.standardize, "to mean 0 and sd 1: none, features or all (features and targets)")
      .choices({"none", "features", "all"});
  o.section("Training");
  o.flag("epochs", &f.epochs, "passes over the training sections").range(0.01, 1e6);
  o.flag("batch-size", &f.batch_size, "items of a step").range(1, 4096);
  o.flag("lr", &f.lr, "learning rate").range(1e-9, 10);
  o.flag("seed", &f.seed, "of everything that is drawn");
  o.section("Sampling");
  o.flag("n-sample-steps", &f.sample_steps, "points of the time grid; one evaluation fewer").range(2, 1000);
  o.flag("samples", &f.samples, "draws that are averaged").range(1, 4096);
  o.flag("solver", &f.solver, "euler or heun").choices({"euler", "heun"});
  o.section("Run");
  o.flag("save-dir", &f.save_dir, "folder of the run; without it the next free number in runs/").placeholder("DIR");
  o.flag("resume", &f.resume, "continue the run in --save-dir, or the last one in runs/");
  o.flag("overwrite", &f.overwrite, "replace an earlier run in --save-dir");
  o.flag("save-every", &f.save_every, "steps between checkpoints").at_least(1);
  o.flag("eval-every", &f.eval_every, "epochs between scores on the test sections in metrics.jsonl (nothing is chosen by them); 0: never")
      .at_least(0);
  o.flag("maps", &f.maps, "PNG maps of the best genes");
  o.flag("clip", &f.clip, "no negative values in predictions/*.csv");
  o.flag("dry-run", &f.dry_run, "show the plan and stop");
  declare_device(o, f.device);
  declare_ranks(o, f.ranks);
  o.flag("reduce", &f.reduce,
         "order in which gradients of several ranks are added: ordered gives the bits of one rank at any number of them; fast is the order "
         "of NCCL or Gloo; auto: ordered on the CPU, fast on GPUs")
      .choices({"auto", "ordered", "fast"});
  o.flag("overlap", &f.overlap,
         "with fast on GPUs: exchange the gradients of some layers while those of others are computed; the same bits");
}

ModelConfig config_of(const TrainFlags& f) {
  ModelConfig c = preset(f.preset);
  auto set = [](const auto& from, auto& into) {
    if (from) into = static_cast<std::remove_reference_t<decltype(into)>>(*from);
  };
  set(f.layers, c.denoiser.layers), set(f.hidden, c.denoiser.hidden), set(f.hidden, c.denoiser.pairwise), set(f.heads, c.denoiser.heads);
  set(f.dropout, c.denoiser.dropout), set(f.dropout, c.denoiser.attention_dropout), set(f.neighbors, c.geometry.neighbors);
  set(f.epochs, c.epochs), set(f.batch_size, c.training.batch), set(f.lr, c.training.adam.lr);
  set(f.sample_steps, c.sample_steps), set(f.samples, c.samples), set(f.members, c.members);
  if (f.prior) c.prior = prior_kind(*f.prior);
  if (f.frames) c.geometry.frames = *f.frames == "exact" ? FrameMode::exact : FrameMode::reference;
  if (f.gene_activation) c.denoiser.gene_relu = *f.gene_activation == "relu";
  if (f.standardize) c.standardize_features = *f.standardize != "none", c.standardize_targets = *f.standardize == "all";
  if (f.solver) c.solver = *f.solver == "heun" ? Solver::heun : Solver::euler;
  c.seed = f.seed;
  if (f.eval_every > 0 && c.members > 1)
    fail(Exit::usage, "--eval-every: found {} with {} members, expected --members 1", f.eval_every, c.members);
  check_sizes(c);
  return c;
}

}  // namespace stflow
