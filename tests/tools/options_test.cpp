// Flags: every kind of value from every source, and the one line that each mistake gives.
#include <doctest/doctest.h>

#include <cstdlib>

#include "engine/error.h"
#include "engine/nearest.h"
#include "tests/run.h"
#include "tools/options.h"

using namespace stflow;

namespace {

struct Values {
  bool shuffle = true, overwrite = false;
  int epochs = 40;
  int64_t gpus = 0;
  uint64_t seed = 1;
  double lr = 1e-3;
  float dropout = 0.1f;
  std::string preset = "default";
  std::vector<std::string> datasets{"C2", "C3"};
  std::optional<double> mpp;
  std::optional<std::string> embeddings;
};

// Declares flags on all kinds of variables and parses `args`.
struct Parsed : Values {
  Options o{"train", "Trains.", "stflow train --epochs 3"};
  bool go_on = false;

  explicit Parsed(const Args& args) {
    o.flag("shuffle", &shuffle, "shuffle");
    o.flag("overwrite", &overwrite, "overwrite");
    o.section("Training");
    o.flag("epochs", &epochs, "passes").range(1, 1000);
    o.flag("gpus", &gpus, "devices").at_least(-1);
    o.flag("seed", &seed, "random seed");
    o.flag("lr", &lr, "learning rate").at_least(0);
    o.flag("dropout", &dropout, "dropout").range(0, 1);
    o.flag("preset", &preset, "preset").choices({"default", "reference"});
    o.flag("datasets", &datasets, "sections");
    o.flag("mpp", &mpp, "microns per pixel").at_least(0);
    o.flag("embeddings", &embeddings, "features").placeholder("DIR");
    go_on = o.parse(args);
  }
};

std::string error_of(const Args& args, Exit code = Exit::usage) {
  try {
    Parsed parsed(args);
  } catch (const Error& e) {
    CHECK(e.code() == code);
    return e.what();
  }
  return "no error";
}

struct Environment {
  const char* name;
  Environment(const char* n, const char* value) : name(n) { setenv(n, value, 1); }
  ~Environment() { unsetenv(name); }
};

}  // namespace

TEST_CASE("options: defaults, both ways to give a value, underscores, --no-, lists") {
  Parsed p({});
  CHECK(p.go_on);
  CHECK(p.epochs == 40);
  CHECK(p.datasets.size() == 2);
  CHECK_FALSE(p.mpp.has_value());
  CHECK_FALSE(p.o.given("epochs"));

  Parsed q({"--epochs=3", "--gpus", "-1", "--lr", "+2.5e-4", "--no-shuffle", "--overwrite", "--datasets", "A,B", "--datasets=C", "--mpp",
            "0.5", "--embeddings", "-", "--seed", "18446744073709551615", "--dropout", "0"});
  CHECK(q.epochs == 3);
  CHECK(q.gpus == -1);
  CHECK(q.lr == 2.5e-4);
  CHECK_FALSE(q.shuffle);
  CHECK(q.overwrite);
  CHECK(q.datasets == std::vector<std::string>{"A", "B", "C"});
  CHECK(q.mpp == 0.5);
  CHECK(q.embeddings == "-");
  CHECK(q.seed == 18446744073709551615u);
  CHECK(q.dropout == 0);
  CHECK(q.o.given("epochs"));

  CHECK(Parsed({"--log_file", "/dev/null", "--no_shuffle"}).shuffle == false);
  CHECK(Parsed({"--epochs", "3", "--epochs", "4"}).epochs == 4);
  CHECK(Parsed({"--shuffle=false"}).shuffle == false);
}

TEST_CASE("options: a mistake is one line that names the flag, what was found and what is expected") {
  CHECK(error_of({"--epohcs", "3"}) == "--epohcs: no such flag of 'stflow train'; the nearest is --epochs (see 'stflow train --help')");
  CHECK(error_of({"--no-epochs"}) == "--no-epochs: no such flag of 'stflow train'; the nearest is --epochs (see 'stflow train --help')");
  CHECK(error_of({"--epochs", "many"}) == "--epochs: found 'many', expected a whole number from 1 to 1000");
  CHECK(error_of({"--epochs", "3.5"}) == "--epochs: found '3.5', expected a whole number from 1 to 1000");
  CHECK(error_of({"--epochs=0"}) == "--epochs: found '0', expected a whole number from 1 to 1000");
  CHECK(error_of({"--epochs=99999999999999999999"}) == "--epochs: found '99999999999999999999', expected a whole number from 1 to 1000");
  CHECK(error_of({"--epochs="}) == "--epochs: found '', expected a whole number from 1 to 1000");
  CHECK(error_of({"--epochs"}) == "--epochs: found no value, expected a whole number from 1 to 1000");
  CHECK(error_of({"--epochs", "--lr", "1"}) == "--epochs: found no value, expected a whole number from 1 to 1000");
  CHECK(error_of({"--seed", "-1"}) == "--seed: found '-1', expected a whole number of at least 0");
  CHECK(error_of({"--lr", "nan"}) == "--lr: found 'nan', expected a number of at least 0");
  CHECK(error_of({"--lr", "1,5"}) == "--lr: found '1,5', expected a number of at least 0");
  CHECK(error_of({"--lr", "0x1p3"}) == "--lr: found '0x1p3', expected a number of at least 0");
  CHECK(error_of({"--preset", "refernce"}) == "--preset: found 'refernce', expected one of default, reference");
  CHECK(error_of({"--datasets", "A,,B"}) == "--datasets: found 'A,,B', expected words separated by commas");
  CHECK(error_of({"--no-shuffle=1"}) == "--no-shuffle: found a value, expected none");
  CHECK(error_of({"--shuffle=maybe"}) == "--shuffle: found 'maybe', expected true or false");
  CHECK(error_of({"-x"}) == "-x: no such flag of 'stflow train'; see 'stflow train --help'");
  CHECK(error_of({"extra"}) == "found 'extra', expected flags only; see 'stflow train --help'");
  CHECK(error_of({"--", "--epochs"}) == "found '--epochs', expected flags only; see 'stflow train --help'");
  CHECK(error_of({"--config", "/nonexistent.toml"}, Exit::missing) ==
        "/nonexistent.toml: No such file or directory, expected a configuration file");
}

TEST_CASE("options: command line over environment over file over default, and --print-config reads back") {
  const test::Folder folder;
  const std::string file = folder.write("run.toml",
                                        "# a run\r\nepochs = 7  # few\nlr = 1_0.5e-1\n\npreset = 'reference'\noverwrite = true\n"
                                        "datasets = [\"X\", 'Y', ]\nn = 1\n");
  CHECK(error_of({"--config", file}) ==
        file + ": line 8: n: no such flag of 'stflow train'; the nearest is --lr (see 'stflow train --help')");
  const std::string good = folder.write(
      "good.toml",
      "epochs = 7\nlr = 1_0.5e-1\npreset = 'reference'\noverwrite = true\ndatasets = [\"X\", 'Y', ]\nembeddings = \"a\\\"b\"\n");
  const Environment epochs("STFLOW_EPOCHS", "8"), seed("STFLOW_SEED", "5"), empty("STFLOW_DROPOUT", "");
  Parsed p({"--seed", "6", "--config", good});
  CHECK(p.epochs == 8);
  CHECK(p.seed == 6);
  CHECK(p.lr == 1.05);
  CHECK(p.preset == "reference");
  CHECK(p.overwrite);
  CHECK(p.datasets == std::vector<std::string>{"X", "Y"});
  CHECK(p.embeddings == "a\"b");
  CHECK(p.dropout == 0.1f);
  CHECK(Parsed({"--config", good, "--datasets", "Z"}).datasets == std::vector<std::string>{"Z"});

  const std::string again = folder.write("again.toml", p.o.config_text());
  Parsed r({"--config", again});
  CHECK(r.o.config_text().substr(0, 14) == "# stflow train");
  CHECK(r.lr == p.lr);
  CHECK(r.seed == 5);  // the environment still goes first
  CHECK(r.embeddings == p.embeddings);
  CHECK(r.datasets == p.datasets);
  CHECK(p.o.config_text().find("epochs = 8  # STFLOW_EPOCHS\n") != std::string::npos);
  CHECK(p.o.config_text().find("# mpp is not set\n") != std::string::npos);

  const Environment wrong("STFLOW_LR", "fast");
  CHECK(error_of({}) == "STFLOW_LR: found 'fast', expected a number of at least 0");
}

TEST_CASE("options: mistakes in a configuration file name file, line and key") {
  const test::Folder folder;
  const auto of = [&](const std::string& text) {
    const std::string path = folder.write("c.toml", text), line = error_of({"--config", path});
    CHECK(line.starts_with(path + ": "));
    return line.substr(std::min(line.size(), path.size() + 2));
  };
  CHECK(of("epochs = \"7\"") == "line 1: epochs: found \"7\", expected a whole number from 1 to 1000");
  CHECK(of("preset = reference") == "line 1: found 'reference', expected a number, true, false or a string in quotes");
  CHECK(of("preset = 3") == "line 1: preset: found 3, expected one of default, reference in quotes");
  CHECK(of("overwrite = 1") == "line 1: overwrite: found 1, expected true or false");
  CHECK(of("\n\nepochs 7") == "line 3: found '7', expected '='");
  CHECK(of("epochs =") == "line 1: found the end of the line, expected a value");
  CHECK(of("epochs = 7 8") == "line 1: found '8', expected the end of the line");
  CHECK(of("epochs = 7\nepochs = 8") == "line 2: found 'epochs' again, expected it once (line 1)");
  CHECK(of("[train]") == "line 1: found '[train]', expected key = value (there are no sections)");
  CHECK(of("epochs = [7]") == "line 1: epochs: found an array, expected a whole number from 1 to 1000");
  CHECK(of("datasets = [[1]]") == "line 1: found '[1]]', expected a plain value (arrays do not nest)");
  CHECK(of("datasets = [1") == "line 1: found the end of the line, expected ',' or ']' on the same line");
  CHECK(of("preset = \"x") == "line 1: found the end of the line, expected a closing quote");
  CHECK(of("preset = \"\\q\"") == "line 1: found 'q\"', expected one of the escapes \\\" \\\\ \\n \\t");
  CHECK(of("config = 'other.toml'") ==
        "line 1: config: no such flag of 'stflow train'; the nearest is --config (see 'stflow train --help')");
}

TEST_CASE("options: arguments") {
  std::string run;
  std::vector<std::string> files;
  const auto parse = [&](const Args& args) {
    Options o("predict", "Predicts.", "stflow predict run/ a.csv");
    o.argument("RUN", &run, "a run folder or a model file");
    o.argument("FILE", &files, "sections").optional();
    return o.parse(args);
  };
  CHECK(parse({"r", "-q", "a", "--", "--b"}));
  CHECK(run == "r");
  CHECK(files == std::vector<std::string>{"a", "--b"});
  CHECK_THROWS_WITH_AS(parse({}), "found no RUN, expected a run folder or a model file; see 'stflow predict --help'", Error);
  terminal::configure({});
}

TEST_CASE("options: the nearest name") {
  CHECK(nearest("trian", {"predict", "train"}) == "train");
  CHECK(nearest("batchsize", {"epochs", "batch-size"}) == "batch-size");
  CHECK(nearest("x", {}).empty());
  CHECK(!nearest(std::string(1000000, 'x'), {"train"}).empty());
}
