#include "engine/distributed/team.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "engine/build_id.h"
#include "engine/distributed/gloo.h"
#include "engine/distributed/nccl.h"
#include "engine/text.h"
#include "engine/version.h"

namespace stflow {
namespace {

const std::string& identity() {
  static const std::string text = fmt::format("version {}\nbinary {}\n", kVersion, build_id());
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

// "ranks 0, 1 and 3".
std::string ranks_text(const std::vector<size_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); i++) text += fmt::format("{}{}", i == 0 ? "" : i + 1 == ranks.size() ? " and " : ", ", ranks[i]);
  return text;
}

}  // namespace

Team::Team(const Place& place, const TeamOptions& options) : place_(place), options_(options) {
  if (size() == 1) return;
  const auto deadline = after(options.init_timeout);
  if (lead()) server_ = std::make_unique<StoreServer>(place, deadline);
  client_ = std::make_unique<StoreClient>(place, deadline, options.last_words, options.stop);
  char host[256] = "";
  (void)gethostname(host, sizeof host - 1);
  names_.assign(size_t(size()), "");
  try {
    names_ = all("ranks", rank_text(rank(), host, getpid()));
    same("program", identity());
  } catch (const Error& e) {
    leave(e);
    throw;
  }
}

Team::~Team() {
  if (!client_) return;
  if (!left_ && !client_->failed()) client_->goodbye();
  communicator_.reset();
  server_.reset();  // waits until the others have left
}

void Team::leave(const Error& e) {
  if (!client_ || left_) return;
  left_ = true;
  client_->failing(e);
  if (communicator_) communicator_->abandon();
}

std::string Team::name(size_t rank) const { return names_[rank].empty() ? fmt::format("rank {}", rank) : names_[rank]; }

std::vector<std::string> Team::all(const std::string& what, const std::string& text) {
  const std::string key = fmt::format("{} {} of ", asked_++, what);
  client_->set(key + std::to_string(rank()), text);
  const auto deadline = after(options_.init_timeout);
  std::vector<std::string> texts, missing;
  for (int r = 0; r < size(); r++) {
    const auto got = client_->get(key + std::to_string(r), missing.empty() ? deadline : after(0.2));
    if (!got) missing.push_back(name(size_t(r)));
    texts.push_back(got.value_or(""));
  }
  if (!missing.empty())
    fail(Exit::peer, "rank {}: {} not there after {:g} s, expected {} ranks ({})", rank(), listed(missing), options_.init_timeout, size(),
         what);
  return texts;
}

void Team::same(const std::string& what, const std::string& text) {
  if (size() == 1) return;
  const std::vector<std::string> texts = all(what, text);
  std::map<std::string, std::vector<size_t>> groups;
  for (size_t r = 0; r < texts.size(); r++) groups[texts[r]].push_back(r);
  if (groups.size() <= 1) return;
  // The odd ones are those that fewest hold with; of equally many, those without rank 0.
  const auto larger = [](const auto& a, const auto& b) {
    return a.second.size() != b.second.size() ? a.second.size() > b.second.size() : a.second[0] < b.second[0];
  };
  std::vector<std::pair<std::string, std::vector<size_t>>> order(groups.begin(), groups.end());
  std::sort(order.begin(), order.end(), larger);
  const auto &most = order.front(), &odd = order.back();
  const std::vector<std::string> expected = lines_of(most.first), found = lines_of(odd.first);
  size_t i = 0;
  while (i < expected.size() && i < found.size() && expected[i] == found[i]) i++;
  const auto line = [&](const auto& lines) { return i < lines.size() ? lines[i] : std::string("nothing"); };
  fail(Exit::peer, "{}: {}: {}, expected {} as on {}", name(odd.second[0]), what, line(found), line(expected), ranks_text(most.second));
}

// As long as it takes a rank that is alive and runs.
std::string Team::wait_for(const std::string& key) {
  for (;;) {
    if (const auto got = client_->get(key, after(options_.collective_timeout))) return *got;
    constexpr double kAnswer = 5;
    if (const auto frozen = client_->who_is_late(0, kAnswer))
      throw Error(frozen->code, fmt::format("{}; rank {} waited for it", frozen->text, rank()));
  }
}

std::string Team::from_lead(const std::string& what, const std::string& text) {
  if (size() == 1) return text;
  const std::string key = fmt::format("{} {}", asked_++, what);
  if (lead()) client_->set(key, text);
  return lead() ? text : wait_for(key);
}

std::vector<std::string> Team::collect(const std::string& what, const std::string& text) {
  if (size() == 1) return {text};
  const std::string key = fmt::format("{} {} of ", asked_++, what);
  client_->set(key + std::to_string(rank()), text);
  std::vector<std::string> texts;
  for (int r = 0; lead() && r < size(); r++) texts.push_back(wait_for(key + std::to_string(r)));
  return texts;
}

Communicator& Team::communicator(const Context& context) {
  if (communicator_) return *communicator_;
  if (size() == 1) communicator_ = std::make_unique<Alone>();
  else if (context.device == Device::cuda)
    communicator_ = connect_nccl(rank(), size(), *client_, context.stream, options_.init_timeout, options_.collective_timeout);
  else {
    std::string address = client_->address();
    if (lead() && !server_->reached_as().empty()) address = server_->reached_as();
    communicator_ = connect_gloo(rank(), size(), *client_, address, options_.init_timeout, options_.collective_timeout);
  }
  communicator_->check_before(options_.check_collectives);
  return *communicator_;
}

}  // namespace stflow
