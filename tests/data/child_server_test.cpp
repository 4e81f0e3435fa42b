#include <doctest/doctest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include "data/child.h"
#include "tests/files.h"

using namespace stflow;
using namespace stflow::test;

TEST_CASE("child server: answers from any thread, keeps what it has opened, tells its errors") {
  ChildServer server("f.mrxs", "slide", {10, int64_t(1) << 28}, [] {
    return [n = 0](const std::string& question) mutable {
      if (question == "fail") fail(Exit::missing, "f.mrxs: no such part, expected one");
      return question + " " + std::to_string(n++) + std::string(question == "much" ? 1 << 20 : 0, 'x');
    };
  });
  CHECK(server.ask("a") == "a 0");
  CHECK(server.ask("") == " 1");
  CHECK(server.ask("much").size() == 6 + (1 << 20));
  refuses(Exit::missing, "f.mrxs: no such part, expected one", "", [&] { server.ask("fail"); });
  CHECK(server.ask(std::string(1 << 20, 'q')).ends_with("q 3"));
  std::atomic<int> fine = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++)
    threads.emplace_back([&] {
      for (int i = 0; i < 20; i++) fine += server.ask("t").starts_with("t ");
    });
  for (std::thread& t : threads) t.join();
  CHECK(fine == 80);
  CHECK(server.ask("b") == "b 84");
}

TEST_CASE("bad input: a reader that stays and crashes, hangs or eats memory becomes one error line, again and again") {
  auto refuse = [](const ChildServer::Answer& answer, const std::string& line) {
    ChildServer server("f.mrxs", "slide", {1, int64_t(3) << 20}, [&] { return answer; });
    for (int i = 0; i < 2; i++)
      refuses(Exit::data, "f.mrxs: the reader " + line + ", expected a readable slide file", "", [&] { server.ask("x"); });
  };
  refuse(
      [](const std::string&) -> std::string {
        std::raise(SIGSEGV);
        return "";
      },
      "crashed (signal 11)");
  refuse([](const std::string&) -> std::string { ::_exit(3); }, "ended");
  refuse(
      [](const std::string&) -> std::string {
        for (;;) std::this_thread::sleep_for(std::chrono::seconds(10));
      },
      "needed more than 1 s");
  refuse([](const std::string&) -> std::string { throw std::bad_alloc(); }, "needed more than 3145728 bytes");
}
