// Zip archives and pickles made piece by piece: right ones, and ones that break a single rule.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace stflow::test {

/// `bytes` little-endian.
std::string little(uint64_t x, int bytes);

struct ZipPart {
  std::string name, bytes;
  uint16_t method = 0, flags = 0;
  std::string local_name{};  // "": as `name`
};
/// A zip archive with right CRCs; zip64 forms of every size if `large`.
std::string zip(const std::vector<ZipPart>& parts, bool large = false);
/// A checkpoint of torch.save(): `pickle` and storages 0, 1...
std::string torch_zip(const std::string& pickle, const std::vector<std::string>& storages = {});

// Pieces of a pickle.
std::string text(const std::string& s);
std::string whole(int64_t x);
std::string tuple(const std::vector<std::string>& items);
std::string numbers(const std::vector<int64_t>& list);  // a tuple of them
std::string dict(const std::vector<std::pair<std::string, std::string>>& items);
std::string global(const std::string& module, const std::string& name);
std::string call(const std::string& callable, const std::vector<std::string>& arguments);
std::string storage(const std::string& key, const std::string& type, int64_t elements);
std::string tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape, const std::vector<int64_t>& strides);
/// The whole pickle of one value.
std::string pickled(const std::string& value);
/// The format before 1.6: `value`, the keys of its storages and their elements and bytes.
std::string legacy(const std::string& value, const std::vector<std::string>& keys = {}, const std::string& data = "");

}  // namespace stflow::test
