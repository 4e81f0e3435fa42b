// Features of more spots than memory has room for: rows in a file without a name, written in any order, then looked at through a map.
#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace stflow {

class FeatureStore {
 public:
  /// Room for (rows, dim) floats, reserved on the disk of `folder` at once; nothing is left of it when the process ends, however it ends.
  /// Throws Exit::create or Exit::io with the bytes needed.
  FeatureStore(int64_t rows, int64_t dim, const std::string& folder);
  FeatureStore(const FeatureStore&) = delete;
  FeatureStore& operator=(const FeatureStore&) = delete;
  ~FeatureStore();

  /// Safe from several threads for different rows. Throws Exit::io.
  void put(int64_t row, const float* features);
  /// All rows. Their pages take memory once they have been looked at, until forget(): whoever goes through them part by part calls that
  /// after each.
  [[nodiscard]] std::span<const float> rows() const { return {values_, size_t(rows_ * dim_)}; }
  void forget() const;

 private:
  std::string folder_;
  int64_t rows_, dim_;
  int fd_ = -1;
  const float* values_ = nullptr;
};

}  // namespace stflow
