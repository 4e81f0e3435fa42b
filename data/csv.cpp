#include "data/csv.h"

#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {
namespace {

std::string cell(const std::string& s) {
  if (s.find_first_of(",\"\r\n") == std::string::npos) return s;
  std::string out = "\"";
  for (char c : s) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

}  // namespace

void write_predictions(const std::string& path, const Section& s, std::span<const std::string> genes, std::span<const float> values) {
  check(values.size() == s.spots.size() * genes.size(), "{}: {} values for {} spots and {} genes", path, values.size(), s.spots.size(),
        genes.size());
  FileWriter file(path);
  std::string line = "spot,x,y";
  for (const auto& g : genes) line += "," + cell(g);
  file.write(line + "\n");
  for (size_t n = 0; n < s.spots.size(); n++) {
    line = cell(s.spots[n]) + "," + shortest(s.xy[2 * n]) + "," + shortest(s.xy[2 * n + 1]);
    for (size_t g = 0; g < genes.size(); g++) line += "," + shortest(values[n * genes.size() + g]);
    file.write(line + "\n");
  }
  file.commit();
}

}  // namespace stflow
