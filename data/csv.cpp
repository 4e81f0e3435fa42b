#include "data/csv.h"

#include "engine/error.h"
#include "engine/file.h"
#include "engine/text.h"

namespace stflow {

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string out = "\"";
  for (char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

void write_predictions(const std::string& path, const Section& s, std::span<const std::string> genes, std::span<const float> values) {
  check(values.size() == s.spots.size() * genes.size(), "{}: {} values for {} spots and {} genes", path, values.size(), s.spots.size(),
        genes.size());
  FileWriter file(path);
  std::string line = "spot,x,y";
  for (const auto& g : genes) line += "," + csv_cell(g);
  file.write(line + "\n");
  for (size_t n = 0; n < s.spots.size(); n++) {
    line = csv_cell(s.spots[n]) + "," + shortest(s.xy[2 * n]) + "," + shortest(s.xy[2 * n + 1]);
    for (size_t g = 0; g < genes.size(); g++) line += "," + shortest(values[n * genes.size() + g]);
    file.write(line + "\n");
  }
  file.commit();
}

}  // namespace stflow
