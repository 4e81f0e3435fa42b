// The emulator itself: correct kernels pass in all three orders, and each planted fault is reported with the kernel's name.
#include "engine/cuda/emulate.h"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/storage.h"
#include "tests/engine/cuda/faulty.h"
#include "tests/engine/cuda/refusal.h"

using namespace stflow;
using emulator::Order;
using test::refusal;

namespace {

constexpr Order kOrders[] = {Order::ascending, Order::descending, Order::shuffled};

struct InOrder {
  explicit InOrder(Order order) { emulator::set_order(order); }
  ~InOrder() { emulator::set_order(Order::ascending); }
};

/// 64 numbers on the device, never written.
struct OnDevice {
  float* data = static_cast<float*>(emulator::allocate(64 * sizeof(float)));
  OnDevice() = default;
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;
  ~OnDevice() { emulator::release(data); }
  [[nodiscard]] std::vector<float> read() const {
    std::vector<float> host(64);
    emulator::copy(host.data(), data, 64 * sizeof(float));
    return host;
  }
};

#if defined(__SANITIZE_ADDRESS__)
/// What a child process that runs f writes to stderr before it dies; "" if it lives.
std::string last_words(const std::function<void()>& f) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 2);
    ::close(ends[0]);
    f();
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, size_t(n));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : text;
}
#endif

template <class T> constexpr bool kAddsAtomically = requires(T* p, T v) { atomicAdd(p, v); };

}  // namespace

TEST_CASE("emulator: correct kernels, in all three orders") {
  for (Order order : kOrders) {
    const InOrder in(order);
    const OnDevice y;
    test::reversed(y.data, true);
    for (size_t i = 0; i < 64; i++) CHECK(y.read()[i] == float(63 - i));
    test::two_sums(y.data, true);
    for (float v : y.read()) CHECK(v == 0);
    test::shared_overflow(y.data, 64);
    test::early_return(y.data, 64);
    test::partial_warp(y.data, 32);
    for (size_t i = 0; i < 64; i++) CHECK(y.read()[i] == float(i ^ 1));
    test::counted(reinterpret_cast<int*>(y.data));
    std::vector<int> counts(64);
    emulator::copy(counts.data(), y.data, 64 * sizeof(int));
    for (int i = 0; i < 64; i++) CHECK(counts[size_t(i)] == i);
  }
}

TEST_CASE("emulator: a missing barrier gives wrong numbers in every order") {
  for (Order order : kOrders) {
    const InOrder in(order);
    const OnDevice y;
    test::reversed(y.data, false);  // reads what another warp has yet to write: NaN
    bool nan = false;
    for (float v : y.read()) nan |= v != v;
    CHECK(nan);
    test::two_sums(y.data, false);  // the fast warp's second sum overwrites what the slow one has yet to read
    bool wrong = false;
    for (float v : y.read()) wrong |= v != 0;
    CHECK(wrong);
  }
}

TEST_CASE("emulator: a missing barrier and a race are refused by name, correct kernels are not") {
  const emulator::InEveryOrder verified;
  const OnDevice y;
  auto expected = [](const std::string& name) {
    return "kernel " + name + ": the order of threads changes the result: a barrier is missing, or threads race";
  };
  CHECK(refusal([&] { test::reversed(y.data, false); }) == expected("test.reversed"));
  CHECK(refusal([&] { test::two_sums(y.data, false); }) == expected("test.two_sums"));
  CHECK(refusal([&] { test::raced(y.data, 3); }) == expected("test.raced"));
  CHECK(refusal([&] { test::early_return(y.data, 40); }).starts_with("kernel test.early_return: barrier not reached"));
  test::reversed(y.data, true);
  for (size_t i = 0; i < 64; i++) CHECK(y.read()[i] == float(63 - i));
  test::two_sums(y.data, true);
  for (float v : y.read()) CHECK(v == 0);
  test::reduced(y.data);
  for (float v : y.read()) CHECK(v == 0);
  test::raced(y.data, 1);
  CHECK(y.read()[0] == 0);
}

TEST_CASE("emulator: barriers that not all threads reach are refused by name") {
  for (Order order : kOrders) {
    const InOrder in(order);
    const OnDevice y;
    CHECK(refusal([&] { test::early_return(y.data, 40); }) ==
          "kernel test.early_return: barrier not reached by all threads (40 at __syncthreads, 0 at a warp operation, 24 returned)");
    CHECK(refusal([&] { test::partial_warp(y.data, 31); }).starts_with("kernel test.partial_warp: barrier not reached by all threads"));
    test::reversed(y.data, true);  // and the next kernel runs as if nothing had been
    CHECK(y.read()[0] == 63);
  }
}

TEST_CASE("emulator: what no device accepts is refused by name") {
  const OnDevice y;
  for (int threads : {0, 33, 1056})
    CHECK(refusal([&] { test::shaped(y.data, threads); }) ==
          "kernel test.shaped: a block of " + std::to_string(threads) + " threads, expected 1 to 32 whole warps");
  static_assert(kAddsAtomically<int>);
  static_assert(!kAddsAtomically<float>);  // the sum would depend on who comes first
}

TEST_CASE("emulator: memory that nothing wrote is NaN, and a copy brings numbers there and back") {
  const OnDevice x, y;
  test::copied(x.data, y.data);
  for (float v : y.read()) CHECK(v != v);
  std::vector<float> host(64);
  for (size_t i = 0; i < 64; i++) host[i] = float(i);
  copy(Device::cuda, x.data, Device::cpu, host.data(), 64 * sizeof(float));
  test::copied(x.data, y.data);
  CHECK(y.read() == host);
  fill(Device::cuda, y.data, 0, 64 * sizeof(float));
  CHECK(y.read() == std::vector<float>(64, 0));
  const Storage zeros(100, Device::cuda);
  char bytes[100];
  copy(Device::cpu, bytes, Device::cuda, zeros.data(), 100);
  for (char b : bytes) CHECK(b == 0);
}

TEST_CASE("emulator: kernels are listed by name") {
  const OnDevice y;
  test::reversed(y.data, true);
  test::reversed(y.data, true);
  CHECK(std::ranges::count(emulator::kernels_run(), "test.reversed") == 1);
}

#if defined(__SANITIZE_ADDRESS__)
TEST_CASE("emulator: accesses out of bounds end the program, with the kernel's name") {
  const OnDevice y;
  const std::string shared = last_words([&] { test::shared_overflow(y.data, 65); });
  CHECK(shared.find("heap-buffer-overflow") != std::string::npos);
  CHECK(shared.find("emulator: in kernel test.shared_overflow, block (0, 0, 0)") != std::string::npos);
  const std::string device = last_words([&] { test::device_overflow(y.data, 65); });
  CHECK(device.find("heap-buffer-overflow") != std::string::npos);
  CHECK(device.find("emulator: in kernel test.device_overflow, block (0, 0, 0)") != std::string::npos);
  CHECK(last_words([&] { test::device_overflow(y.data, 64); }).empty());
}

TEST_CASE("emulator: the host cannot read device memory") {
  const OnDevice y;
  test::reversed(y.data, true);
  const std::string host = last_words([&] { fmt::print("{}", y.data[3]); });
  CHECK(host.find("use-after-poison") != std::string::npos);
}
#endif

TEST_CASE("emulate: a device without enough memory is refused in one line with what is free, and works on") {
  const Array small({1000}, DType::f32, Device::cuda);
  emulator::set_memory(5000);
  const std::string free = std::to_string(emulator::memory().free);
  try {
    const Array large({2000}, DType::f32, Device::cuda);
    FAIL("8001 bytes were had");
  } catch (const Error& e) {
    CHECK(e.code() == Exit::memory);
    CHECK(std::string(e.what()) ==
          "device memory: 8001 bytes asked for, " + free + " of 5000 free, expected enough; lower --batch-size, or choose --device cpu");
  }
  emulator::set_memory(SIZE_MAX);
  const Array now({2000}, DType::f32, Device::cuda);
  CHECK(copy_of(now, Device::cuda, Device::cpu).as<float>()[1999] == 0);
}
