#include "tools/terminal.h"

#include <doctest/doctest.h>

#include "tests/run.h"
#include "tools/signals.h"

#include <csignal>

using namespace stflow;

TEST_CASE("terminal: tables, durations and sizes") {
  terminal::Table t({"gene", "pearson"});
  t.row({"FASN", "0.81"});
  t.row({"B", "-0.1"});
  CHECK(t.text() == "gene  pearson\n-------------\nFASN     0.81\nB        -0.1\n");
  CHECK(terminal::duration(3.21) == "3.2 s");
  CHECK(terminal::duration(245) == "4 min 05 s");
  CHECK(terminal::duration(7800) == "2 h 10 min");
  CHECK(terminal::bytes(812) == "812 bytes");
  CHECK(terminal::bytes(3412) == "3.4 KB");
  CHECK(terminal::bytes(120'000'000) == "120 MB");
  CHECK(terminal::bytes(2'100'000'000) == "2.1 GB");
}

TEST_CASE("terminal: the log file gets every line with the time, also under --quiet") {
  const test::Folder folder;
  terminal::Settings settings;
  settings.quiet = true;
  settings.log_file = folder.path() + "/log";
  terminal::configure(settings);
  terminal::info("step {}", 3);
  terminal::detailed("not shown without --verbose");
  terminal::configure({});
  const std::string log = test::read_file(settings.log_file);
  CHECK(log.size() == std::string("2026-01-01T00:00:00 step 3\n").size());
  CHECK(log.ends_with(" step 3\n"));
}

TEST_CASE("signals: the first one only asks, and can be forgotten") {
  clear_stop_request();
  catch_stop_signals();
  CHECK_FALSE(stop_requested());
  std::raise(SIGTERM);
  CHECK(stop_requested());
  clear_stop_request();
  CHECK_FALSE(stop_requested());
  for (const int number : {SIGINT, SIGTERM, SIGUSR1}) std::signal(number, SIG_DFL);
}
