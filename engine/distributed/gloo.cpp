#include "engine/distributed/gloo.h"

#include <gloo/allgather.h>
#include <gloo/allreduce.h>
#include <gloo/broadcast.h>
#include <gloo/math.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>

#include <cstring>
#include <vector>

#include "engine/distributed/client.h"

namespace stflow {
namespace {

using std::chrono::milliseconds;

milliseconds milliseconds_of(double seconds) { return milliseconds(int64_t(seconds * 1000)); }

// Gloo's addresses in our store.
class Addresses final : public gloo::rendezvous::Store {
 public:
  Addresses(StoreClient& store, Clock::time_point deadline) : store_(store), deadline_(deadline) {}
  void set(const std::string& key, const std::vector<char>& data) override { store_.set("gloo/" + key, {data.begin(), data.end()}); }
  std::vector<char> get(const std::string& key) override {
    const auto value = store_.get("gloo/" + key, deadline_);
    if (!value) fail(Exit::peer, "no address of {} in the store, expected it at the start", key);
    return {value->begin(), value->end()};
  }
  void wait(const std::vector<std::string>& keys) override {
    for (const auto& key : keys) (void)get(key);
  }
  void wait(const std::vector<std::string>& keys, const milliseconds&) override { wait(keys); }

 private:
  StoreClient& store_;
  Clock::time_point deadline_;
};

// What every rank shows before a collective: Gloo itself would mix up calls that do not belong together.
struct Header {
  uint64_t number = 0;
  uint32_t stop = 0;
  char what[116] = "";
};
static_assert(sizeof(Header) == 128);

class Gloo final : public Communicator {
 public:
  Gloo(int rank, int size, StoreClient& store, const std::string& address, double init_timeout, double timeout)
      : Communicator(rank, size, &store, timeout), all_(size_t(size)) {
    what_ = "connecting";
    attempt([&] {
      auto device = gloo::transport::tcp::CreateDevice(gloo::transport::tcp::attr(address.c_str()));
      auto context = std::make_shared<gloo::rendezvous::Context>(rank, size);
      context->setTimeout(milliseconds_of(init_timeout));
      Addresses addresses(store, after(init_timeout));
      context->connectFullMesh(addresses, device);
      context->setTimeout(milliseconds_of(timeout));
      context_ = context;
    });
  }

 private:
  // Gloo's own exceptions become ours.
  template <class F> void attempt(F f) {
    try {
      f();
    } catch (const Error&) {
      throw;
    } catch (const std::exception& e) {
      explain(e.what());
    }
  }

  void compare() override {
    Header mine;
    mine.number = number_, mine.stop = asked_;
    what_.copy(mine.what, sizeof mine.what - 1);
    attempt([&] {
      gloo::AllgatherOptions o(context_);
      o.setInput(reinterpret_cast<char*>(&mine), sizeof mine);
      o.setOutput(reinterpret_cast<char*>(all_.data()), all_.size() * sizeof(Header));
      gloo::allgather(o);
    });
    for (size_t r = 0; r < all_.size(); r++) {
      const Header& h = all_[r];
      if (h.number != number_ || std::strncmp(h.what, mine.what, sizeof h.what) != 0) explain("ranks differ");
      agreed_ = agreed_ || h.stop != 0;
    }
  }

  void gather(const Tensor& mine, const Tensor& all) override {
    if (mine.size() == 0) return;
    attempt([&] {
      gloo::AllgatherOptions o(context_);
      o.setInput(static_cast<char*>(mine.data), mine.bytes());
      o.setOutput(static_cast<char*>(all.data), all.bytes());
      gloo::allgather(o);
    });
  }

  void reduce(const Tensor& t) override {
    if (t.size() == 0) return;
    attempt([&] {
      gloo::AllreduceOptions o(context_);
      if (t.type == DType::f32) add(o, t.as<float>(), t.size());
      else if (t.type == DType::f64) add(o, t.as<double>(), t.size());
      else add(o, t.as<int32_t>(), t.size());
      gloo::allreduce(o);
    });
  }
  template <class T> static void add(gloo::AllreduceOptions& o, T* data, int64_t n) {
    o.setOutput(data, size_t(n));
    o.setReduceFunction([](void* to, const void* a, const void* b, size_t k) { gloo::sum<T>(to, a, b, k); });
  }

  void spread(const Tensor& t, int root) override {
    if (t.size() == 0) return;
    attempt([&] {
      gloo::BroadcastOptions o(context_);
      if (root == rank_) o.setInput(static_cast<char*>(t.data), t.bytes());
      o.setOutput(static_cast<char*>(t.data), t.bytes());
      o.setRoot(root);
      gloo::broadcast(o);
    });
  }

  std::shared_ptr<gloo::rendezvous::Context> context_;
  std::vector<Header> all_;
};

}  // namespace

std::unique_ptr<Communicator> connect_gloo(int rank, int size, StoreClient& store, const std::string& address, double init_timeout,
                                           double timeout) {
  return std::make_unique<Gloo>(rank, size, store, address, init_timeout, timeout);
}

}  // namespace stflow
