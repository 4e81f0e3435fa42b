// Ranks as threads of one process: how they meet, compare, and hear of each other's end.
#include "engine/distributed/team.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>

#include "engine/cuda/memory.h"
#include "engine/storage.h"
#include "tests/ranks.h"

using namespace stflow;

namespace {

struct Outcome {
  int code = 0;
  std::string line;
};

Place place_of(int rank, int size, int port) {
  Place p;
  p.rank = p.local_rank = rank, p.size = p.local_size = size;
  p.master = "127.0.0.1", p.port = port;
  return p;
}

// Runs `body` on `size` ranks; what each ended with.
std::vector<Outcome> as_team(int size, const std::function<void(Team&)>& body, double init_timeout = 20, double collective_timeout = 20,
                             const std::function<void(Place&)>& change = {}, int present = -1, int port = test::free_port(),
                             bool check = false) {
  std::vector<Outcome> outcomes(size_t(present < 0 ? size : present));
  std::vector<std::thread> threads;
  for (size_t r = 0; r < outcomes.size(); r++)
    threads.emplace_back([&, r] {
      try {
        Place place = place_of(int(r), size, port);
        if (change) change(place);
        Team team(place, {init_timeout, collective_timeout, [](const Fault&) {}, {}, check});
        try {
          body(team);
        } catch (const Error& e) {
          team.leave(e);
          throw;
        }
      } catch (const Error& e) {
        outcomes[r] = {int(e.code()), e.what()};
      }
    });
  for (auto& t : threads) t.join();
  return outcomes;
}

Communicator& gloo_of(Team& team) { return team.communicator(Context()); }

std::string own_name(int rank) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  return fmt::format("rank {} (host {}, pid {})", rank, host, getpid());
}

bool has(const std::string& line, const std::string& part) { return line.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("team: collectives give exactly what they should, at any number of ranks and for odd and empty sizes") {
  for (int size : {1, 2, 3, 5}) {
    const auto outcomes = as_team(size, [&](Team& team) {
      Communicator& c = gloo_of(team);
      const int r = team.rank();
      for (int64_t n : {0, 1, 7, 40000}) {
        std::vector<float> mine(size_t(n), 0), all(size_t(n * size), -1);
        for (size_t i = 0; i < mine.size(); i++) mine[i] = float(r * 1000) + float(i % 100);
        c.all_gather(view(mine.data(), {n}), view(all.data(), {n * size}), "test");
        bool right = true;
        for (size_t i = 0; i < all.size(); i++) right = right && all[i] == float(i / size_t(n) * 1000) + float(i % size_t(n) % 100);
        if (!right) fail(Exit::mismatch, "all_gather of {}", n);
        std::vector<double> sum(size_t(n), 0);
        for (size_t i = 0; i < sum.size(); i++) sum[i] = double(i) * (r + 1);
        c.all_reduce_sum(view(sum.data(), {n}), "test");
        for (size_t i = 0; i < sum.size(); i++) right = right && sum[i] == double(i) * size * (size + 1) / 2;
        if (!right) fail(Exit::mismatch, "all_reduce of {}", n);
        std::vector<int32_t> text(size_t(n), r);
        c.broadcast(view(text.data(), {n}), size - 1, "test");
        for (const int32_t x : text) right = right && x == size - 1;
        if (!right) fail(Exit::mismatch, "broadcast of {}", n);
      }
      if (c.stop_agreed()) fail(Exit::mismatch, "stop without a wish");
      if (r == size - 1) c.ask_to_stop();
      float x = 0;
      c.all_reduce_sum(view(&x, {1}), "test");
      if (!c.stop_agreed()) fail(Exit::mismatch, "no stop");
      const auto texts = team.collect("names", std::to_string(r));
      if (team.lead() && (texts.size() != size_t(size) || texts.back() != std::to_string(size - 1))) fail(Exit::mismatch, "collect");
      if (team.from_lead("word", r == 0 ? "zero" : "other") != "zero") fail(Exit::mismatch, "from_lead");
    });
    for (const Outcome& o : outcomes) CHECK_MESSAGE(o.code == 0, o.line);
  }
}

TEST_CASE("team: ranks that call different collectives fail with both sides' view") {
  struct Case {
    std::function<void(Communicator&, int)> call;
    const char *one, *other;
  };
  std::vector<float> many(64, 0);
  for (const Case& c : std::vector<Case>{{[](Communicator&c, int r) {
                                            std::vector<float> x(8, 0);
                                            c.all_reduce_sum(view(x.data(), {r == 1 ? 7 : 8}), "sizes");
                                          },
                                          "all_reduce of 8 f32 for sizes", "all_reduce of 7 f32 for sizes"},
                                         {[](Communicator&c, int r) {
                                            std::vector<double> x(8, 0);
                                            std::vector<float> y(8, 0);
                                            c.all_reduce_sum(r == 1 ? view(x.data(), {8}) : view(y.data(), {8}), "types");
                                          },
                                          "all_reduce of 8 f32 for types", "all_reduce of 8 f64 for types"},
                                         {[](Communicator&c, int r) {
                                            std::vector<float> x(8, 0), all(24, 0);
                                            if (r == 1) c.broadcast(view(x.data(), {8}), 0, "order");
                                            else c.all_gather(view(x.data(), {8}), view(all.data(), {24}), "order");
                                          },
                                          "all_gather of 8 f32 for order", "broadcast of 8 f32 for order, from rank 0"},
                                         {[](Communicator&c, int r) {
                                            std::vector<float> x(8, 0);
                                            c.set_step(r == 1 ? 6 : 5);
                                            c.all_reduce_sum(view(x.data(), {8}), "steps");
                                          },
                                          "all_reduce of 8 f32 for steps, step 5", "all_reduce of 8 f32 for steps, step 6"}}) {
    for (const Outcome& o : as_team(3, [&](Team& team) { c.call(gloo_of(team), team.rank()); })) {
      CAPTURE(o.line);
      CHECK(o.code == 76);
      CHECK(has(o.line, "collective 1: "));
      CHECK(has(o.line, c.one));
      CHECK(has(o.line, c.other));
      CHECK(has(o.line, own_name(1)));
    }
  }
}

// Among the slow ones, so not under ASan: the stand-in for NCCL touches the memory of a device from a thread of its own.
TEST_CASE("slow: team: --check-collectives: what differs is refused before NCCL begins it") {
  if (!cuda_is_emulated()) return;
  const std::string library = (std::filesystem::read_symlink("/proc/self/exe").parent_path() / "libnccl_stub.so").string();
  REQUIRE(setenv("STFLOW_NCCL", library.c_str(), 1) == 0);
  Context gpu;
  gpu.device = Device::cuda;
  const auto calls = [&](bool differ) {
    return as_team(
        3,
        [&](Team& team) {
          Communicator& c = team.communicator(gpu);
          Array x({8}, DType::f32, Device::cuda);
          const std::vector<float> ones(8, 1);
          copy(Device::cuda, x.tensor().data, Device::cpu, ones.data(), 32);
          Tensor t = x;
          if (differ && team.rank() == 1) t.shape = {7};
          std::string line;
          try {
            c.all_reduce_sum(t, "sizes", true);
            c.join();
            c.wait();
          } catch (const Error& e) {
            line = e.what();
          }
          const Array host = copy_of(x, Device::cuda, Device::cpu);
          const float want = differ ? 1 : 3;
          for (int i = 0; i < 8; i++)
            if (host.tensor().as<float>()[i] != want) fail(Exit::mismatch, "element {} is {}", i, host.tensor().as<float>()[i]);
          if (!line.empty()) fail(Exit::peer, "{}", line);
        },
        20, 20, {}, -1, test::free_port(), true);
  };
  for (const Outcome& o : calls(false)) CHECK_MESSAGE(o.code == 0, o.line);
  for (const Outcome& o : calls(true)) {
    CAPTURE(o.line);
    CHECK(o.code == 76);
    CHECK(has(o.line, "all_reduce of 8 f32 for sizes"));
    CHECK(has(o.line, "all_reduce of 7 f32 for sizes"));
    CHECK(has(o.line, own_name(1)));
  }
}

TEST_CASE("team: a rank that ends early, fails, or does not come is named to all others, with the collective") {
  const auto ended = as_team(3, [&](Team& team) {
    float own = 0;
    gloo_of(team).all_reduce_sum(view(&own, {1}), "work");
    if (team.rank() != 1) gloo_of(team).all_reduce_sum(view(&own, {1}), "more");
  });
  CHECK(ended[1].code == 0);
  for (size_t r : {0, 2}) {
    CHECK(ended[r].code == 76);
    CHECK_MESSAGE(has(ended[r].line, own_name(1) + " ended after collective 1: all_reduce of 1 f32 for work"), ended[r].line);
    CHECK(has(ended[r].line, "collective 2: all_reduce of 1 f32 for more"));
  }
  for (const Exit code : {Exit::data, Exit::preempted}) {
    const auto failed = as_team(3, [&](Team& team) {
      if (team.rank() == 2) fail(code, "x.tsv: line 3: found 'a', expected a number");
      float own = 0;
      gloo_of(team).all_reduce_sum(view(&own, {1}), "work");
    });
    CHECK(failed[2].code == int(code));
    for (size_t r : {0, 1}) {
      CHECK(failed[r].code == (code == Exit::preempted ? 75 : 76));
      CHECK_MESSAGE(has(failed[r].line, own_name(2) + " failed: x.tsv: line 3: found 'a', expected a number"), failed[r].line);
    }
  }
  // Too late for a short timeout: the others do not wait for it.
  const auto late = as_team(
      3,
      [&](Team& team) {
        Communicator& c = gloo_of(team);
        float own = 0;
        c.set_step(7);
        if (team.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
        c.all_reduce_sum(view(&own, {1}), "work");
      },
      20, 0.5);
  for (const Outcome& o : late) CHECK(o.code == 76);
  for (size_t r : {0, 2}) {
    CHECK_MESSAGE(has(late[r].line, own_name(1) + " did not come to collective 1: all_reduce of 1 f32 for work, step 7 in time"),
                  late[r].line);
  }
}

TEST_CASE("bad input: ranks that differ are refused at the start, the odd one by name") {
  for (const Outcome& o :
       as_team(3, [](Team& team) { team.same("configuration", fmt::format("lr: 1\nbatch: {}\nseed: 1\n", team.rank() == 2 ? 8 : 4)); })) {
    CHECK(o.code == 76);
    CHECK_MESSAGE(has(o.line, own_name(2) + ": configuration: batch: 8, expected batch: 4 as on ranks 0 and 1"), o.line);
  }
  for (const Outcome& o : as_team(2, [](Team& team) { team.same("data", team.rank() == 0 ? "aa" : "bb"); })) {
    CHECK(o.code == 76);
    CHECK_MESSAGE(has(o.line, own_name(1) + ": data: bb, expected aa as on rank 0"), o.line);
  }
  const auto sizes = as_team(
      2, [](Team&) {}, 5, 5,
      [](Place& p) {
        if (p.rank == 1) p.size = 3;
      });
  for (const Outcome& o : sizes) {
    CHECK(o.code == 76);
    CHECK_MESSAGE(has(o.line, own_name(1) + ": one of 3 ranks, expected one of 2 as rank 0"), o.line);
  }
  const auto twice = as_team(
      2, [](Team&) {}, 2, 2,
      [](Place& p) {
        if (p.rank == 1) std::this_thread::sleep_for(std::chrono::milliseconds(300)), p.rank = 0, p.port = p.port;
      });
  CHECK(twice[0].code == 76);  // whichever came second could not open the store
}

TEST_CASE("bad input: a port in use, a missing rank and an absent rank 0 are named after --init-timeout") {
  const Socket taken = listen_on("127.0.0.1", 0);
  const int port = port_of(taken);
  const auto in_use = as_team(
      2, [](Team&) {}, 1, 1, {}, -1, port);
  CHECK(in_use[0].code == 76);
  CHECK_MESSAGE(has(in_use[0].line, fmt::format("rank 0: port {} of ", port)), in_use[0].line);
  CHECK(has(in_use[0].line, "Address already in use"));
  CHECK(in_use[1].code == 76);
  CHECK_MESSAGE(has(in_use[1].line, fmt::format("rank 1: 127.0.0.1:{}: ", port)), in_use[1].line);

  const auto missing = as_team(
      3, [](Team&) {}, 1, 1, {}, 2);
  for (const Outcome& o : missing) {
    CHECK(o.code == 76);
    CHECK_MESSAGE(has(o.line, "rank 2 not there after 1 s, expected 3 ranks"), o.line);
  }
  const auto headless = as_team(
      2, [](Team&) {}, 1, 1,
      [](Place& p) {
        if (p.rank == 0) fail(Exit::usage, "not started");
      });
  CHECK(headless[1].code == 76);
  CHECK_MESSAGE(has(headless[1].line, "Connection refused for 1 s, expected rank 0 there"), headless[1].line);
}

TEST_CASE("bad input: strangers on the store's port are shown the door and disturb nobody") {
  const int port = test::free_port();
  std::vector<Socket> strangers;
  std::string why;
  const auto knock = [&](const std::string& text) {
    strangers.emplace_back();
    for (int i = 0; i < 500 && !strangers.back(); i++, ::usleep(10000)) strangers.back() = connect_to("127.0.0.1", port, after(1), why);
    if (!text.empty()) (void)send_all(strangers.back(), text);
  };
  std::thread visitor([&] {
    knock("GET / HTTP/1.1\r\n\r\n");
    knock("");
    knock(std::string("stflow01") + std::string(1000, '\xff'));
    knock(encode({Message::set, 0, "0 ranks of 1", "false"}));
    knock(encode({Message::hello, 99, "2 0 1", "elsewhere"}));
    knock(encode({Message::hello, uint64_t(1) << 63, "2 0 1", "elsewhere"}));
    knock(encode({Message::hello, 1, "", ""}));
    knock(encode({Message::hello, 1, "2 1 4711", "left over"}));
  });
  const auto outcomes = as_team(
      2,
      [&](Team& team) {
        if (team.lead()) visitor.join();
        float x = 1;
        gloo_of(team).all_reduce_sum(view(&x, {1}), "work");
        if (x != 2) fail(Exit::mismatch, "sum");
      },
      20, 20, {}, -1, port);
  for (const Outcome& o : outcomes) CHECK_MESSAGE(o.code == 0, o.line);
}
