#include "engine/distributed/communicator.h"

#include "engine/distributed/client.h"
#include "engine/storage.h"

namespace stflow {

void Communicator::begin(const char* op, const Tensor& t, int root, const char* site) {
  if (size_ == 1) return;
  number_++, began_ = Clock::now();
  what_ = fmt::format("{} of {} {} for {}{}", op, t.size(), name_of(t.type), site, step_ > 0 ? fmt::format(", step {}", step_) : "");
  if (root >= 0) what_ += fmt::format(", from rank {}", root);
  if (store_->failed()) explain("");
  store_->mark(number_, what_);
  if (checks_ && !store_->get(StoreClient::agreed(number_), after(timeout_))) explain("not all ranks came to it");
  compare();
}

void Communicator::all_gather(const Tensor& mine, const Tensor& all, const char* site) {
  check(all.size() == mine.size() * size_ && all.type == mine.type, "all_gather for {}: {} of {}", site, mine.size(), all.size());
  begin("all_gather", mine, -1, site);
  gather(mine, all);
}

void Communicator::all_reduce_sum(const Tensor& t, const char* site, bool beside) {
  beside_ = beside;
  begin("all_reduce", t, -1, site);
  reduce(t);
  beside_ = false;
}

void Communicator::broadcast(const Tensor& t, int root, const char* site) {
  check(root >= 0 && root < size_, "broadcast for {}: from rank {} of {}", site, root, size_);
  begin("broadcast", t, root, site);
  spread(t, root);
}

std::string Communicator::first_text(const std::string& text) {
  if (size_ == 1) return text;
  const std::string key = fmt::format("text {} of ", texts_++), read = "read " + key;
  const auto wait = [&](const std::string& k, int r) {
    const auto got = store_->get(k + std::to_string(r), after(timeout_));
    if (!got) fail(Exit::peer, "rank {}: rank {} not there after {:g} s", rank_, r, timeout_);
    return *got;
  };
  store_->set(key + std::to_string(rank_), text);
  std::string first;
  for (int r = 0; r < size_; r++) {
    const std::string theirs = wait(key, r);
    if (first.empty()) first = theirs;
  }
  // Nobody ends while another has not read. Who sees one end that has read all knows that this rank's turn is over too.
  store_->set(read + std::to_string(rank_), "");
  try {
    for (int r = 0; r < size_; r++) (void)wait(read, r);
  } catch (const Error&) {}
  return first;
}

std::string Communicator::here() const { return fmt::format("rank {} in collective {}: {}", rank_, number_, what_); }

void Communicator::explain(const std::string& what) {
  // The store knows who died a moment after the connections do. Who did not come it has to be asked, once the time is over: a rank that is
  // merely later than this one is not to blame for an error. The answer to another rank's question is news here.
  constexpr double kNews = 5, kAnswer = 5;
  const bool in_vain = began_ <= after(-timeout_);
  const auto fault = in_vain ? store_->who_is_late(number_, kAnswer) : store_->wait_for_fault(kNews);
  if (fault) throw Error(fault->code, fmt::format("{}; {}", fault->text, here()));
  fail(Exit::peer, "{}: {}, and no rank is known to be lost", here(), what);
}

void Alone::gather(const Tensor& mine, const Tensor& all) {
  if (mine.data != all.data) copy(Device::cpu, all.data, Device::cpu, mine.data, mine.bytes());
}

}  // namespace stflow
