// Graphs and pinned memory under the emulator: what is recorded is what is replayed, and what no GPU's graph could hold is refused by name.
#include "engine/cuda/graph.h"

#include <doctest/doctest.h>

#include <cmath>

#include "engine/cuda/emulate.h"
#include "engine/cuda/memory.h"
#include "engine/replays.h"
#include "engine/storage.h"
#include "tests/engine/cuda/faulty.h"
#include "tests/engine/cuda/refusal.h"

using namespace stflow;
using test::refusal;

namespace {

Context gpu() {
  Context c;
  c.device = Device::cuda;
  return c;
}

std::string captured(const std::function<void()>& f) {
  return refusal([&] { const CudaGraph g("of the test", nullptr, f); });
}

std::vector<float> read(const Array& a) {
  std::vector<float> v(size_t(a.tensor().size()));
  copy(Device::cpu, v.data(), Device::cuda, a.tensor().data, a.tensor().bytes());
  return v;
}

}  // namespace

TEST_CASE("emulator: a graph does nothing when recorded, and when replayed all of it, with memory as it is then") {
  const Array x({64}, DType::f32, Device::cuda), y({64}, DType::f32, Device::cuda);
  const auto set = [&](float value) {
    const std::vector<float> v(64, value);
    copy(Device::cuda, x.tensor().data, Device::cpu, v.data(), 64 * sizeof(float));
  };
  set(1);
  float argument = 5;
  const CudaGraph g("of the test", nullptr, [&] {
    test::copied(x.as<float>(), y.as<float>());
    cuda_store(y.as<float>(), argument);
    copy(Device::cuda, y.as<float>() + 1, Device::cuda, x.tensor().data, sizeof(float));
    fill(Device::cuda, y.as<float>() + 2, 0, sizeof(float));
  });
  CHECK(g.nodes() == 4);
  CHECK(read(y) == std::vector<float>(64, 0));
  set(2), argument = 6;  // an argument is as it was, memory is not
  const emulator::Counts before = emulator::counts();
  g.replay(nullptr);
  CHECK(emulator::counts().replays == before.replays + 1);
  CHECK(emulator::counts().launches == before.launches);
  std::vector<float> want(64, 2);
  want[0] = 5, want[2] = 0;
  CHECK(read(y) == want);
}

TEST_CASE("emulator: what no graph can hold is refused with the graph's name") {
  const Array x({64}, DType::f32, Device::cuda);
  const Storage pinned = Storage::beside(Device::cuda, 4);
  float pageable = 1;
  CudaEvent event;
  const auto copy_from = [&](const void* p) { copy(Device::cuda, x.tensor().data, Device::cpu, p, 4); };
  CHECK(captured([&] { const Storage s(64, Device::cuda); }) ==
        "graph of the test: an allocation of device memory after 0 launches, copies and fills, which no graph can hold");
  CHECK(captured([&] { copy_from(pinned.data()), copy_from(&pageable); }) ==
        "graph of the test: a copy with pageable memory of the host after 1 launches, copies and fills, which no graph can hold");
  CHECK(captured([&] { copy(Device::cpu, pinned.data(), Device::cuda, x.tensor().data, 4); }).find("a copy that waits") !=
        std::string::npos);
  CHECK(captured([&] { const Storage s = Storage::beside(Device::cuda, 4); }).find("an allocation of pinned memory") != std::string::npos);
  CHECK(captured([&] { cuda_wait(); }).find("a wait") != std::string::npos);
  CHECK(captured([&] { event.wait(); }).find("a wait") != std::string::npos);
  CHECK(captured([&] { event.record(nullptr); }).find("an event") != std::string::npos);
  CHECK(captured([&] { test::reversed(x.as<float>(), true); }) == "nothing was refused");
  const CudaGraph good("inner", nullptr, [] {});
  CHECK(captured([&] { good.replay(nullptr); }).find("a graph") != std::string::npos);
  test::reversed(x.as<float>(), true);  // after a refusal work is done at once again
  CHECK(read(x)[0] == 63);
}

TEST_CASE("emulator: pinned memory is believed only after a wait, and may change only then") {
  const Array x({2}, DType::f32, Device::cuda);
  const Storage memory = Storage::beside(Device::cuda, 2 * sizeof(float));
  auto* host = static_cast<float*>(memory.data());
  CudaEvent event;
  const CudaStream side;
  host[0] = 7;
  CHECK(event.done());
  copy(Device::cuda, x.tensor().data, Device::cpu, host, sizeof(float), side.get());
  event.record(side.get());
  CHECK_FALSE(event.done());
  event.wait();
  CHECK(event.done());
  host[0] = 8;  // the copy is done
  copy(Device::cuda, x.tensor().data, Device::cpu, host, sizeof(float), side.get());
  cuda_follow(nullptr, side.get());
  event.record(nullptr);
  event.wait();
  host[0] = 9;  // done too: the stream waited for has waited for the other
  cuda_copy(host + 1, x.tensor().data, sizeof(float), false);
  CHECK(std::isnan(host[1]));
  event.record(nullptr);
  event.wait();
  CHECK(host[1] == 8);
  copy(Device::cuda, x.tensor().data, Device::cpu, host, sizeof(float));
  host[0] = 10;
  CHECK(refusal([] { cuda_wait(); }) == "emulator: pinned memory changed before the device had come to the copy from it");
}

TEST_CASE("upload: pinned memory of any size, which waits only for what the GPU has not come to") {
  const Array x({8}, DType::f32, Device::cuda);
  Upload upload(Device::cuda);
  CudaEvent behind;
  const auto send = [&](size_t n, float value) {
    std::fill_n(static_cast<float*>(upload.room(n * sizeof(float))), n, value);
    upload.send(x.tensor().data, n * sizeof(float), nullptr);
  };
  send(4, 1);
  const int64_t waits = emulator::counts().waits, pageable = emulator::counts().pageable;
  send(8, 2);  // nobody has waited for the first
  CHECK(emulator::counts().waits == waits + 1);
  behind.record(nullptr);
  behind.wait();
  send(2, 3);
  CHECK(emulator::counts().waits == waits + 2);
  CHECK(emulator::counts().pageable == pageable);
  cuda_wait();
  CHECK(read(x) == std::vector<float>{3, 3, 2, 2, 2, 2, 2, 2});
  Upload on_cpu;
  CHECK(on_cpu.room(100) != nullptr);
  CHECK_THROWS_AS(on_cpu.send(x.tensor().data, 4, nullptr), Error);
}

TEST_CASE("emulator: work in parts is a graph for each, and what is between them is done each time") {
  Replays r(gpu());
  std::string done;
  for (int i = 0; i < 4; i++)
    r.run(
        "of the test", {1}, 2, [&] { done += "p"; }, [&](size_t part) { done += std::to_string(part); }, [&](size_t) { done += "-"; });
  CHECK(done ==
        "p0-1-"
        "p01--"
        "--"
        "--");
  CHECK(r.size() == 2);
}

TEST_CASE("emulator: what comes again is replayed from the third time on, and not on a CPU") {
  const auto calls = [](const Context& c, int times) {
    Replays r(c);
    int prepared = 0, worked = 0;
    for (int i = 0; i < times; i++)
      for (const uint64_t key : {1, 2})
        r.run(
            "of the test", {key}, [&] { prepared++; }, [&] { worked++; });
    return std::vector<int>{prepared, worked, int(r.size())};
  };
  CHECK(calls(gpu(), 1) == std::vector<int>{2, 2, 0});
  CHECK(calls(gpu(), 5) == std::vector<int>{4, 4, 2});
  CHECK(calls({}, 5) == std::vector<int>{10, 10, 0});
  Context plain = gpu();
  plain.graphs = false;
  CHECK(calls(plain, 5) == std::vector<int>{10, 10, 0});
  Replays many(gpu());  // the least recently used are dropped
  for (int round = 0; round < 2; round++)
    for (uint64_t key = 0; key < 20; key++)
      many.run(
          "of the test", {key}, [] {}, [] {});
  CHECK(many.size() == 20);
  for (uint64_t key = 0; key < 200; key++)
    many.run(
        "of the test", {key + 100}, [] {}, [] {});
  CHECK(many.size() == 0);
}
