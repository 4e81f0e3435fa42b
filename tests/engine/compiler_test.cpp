// The compiler keeps the roundings that the source asks for. Built with the project's flags like everything else, so this
// fails if a flag of the Makefile is lost or a new compiler brings the fault back.
#include <doctest/doctest.h>

#include <vector>

namespace {

struct Point {
  double x, y;
};

// g++ 12 -O2 drops the round trip through float here, in its basic-block (SLP) vectoriser.
__attribute__((noinline)) void round_to_float(std::vector<Point>& points) {
  for (auto& p : points) {
    p.x = double(float(p.x));
    p.y = double(float(p.y));
  }
}

__attribute__((noinline)) double multiply_add(double a, double b, double c) { return a * b + c; }

}  // namespace

TEST_CASE("compiler: a double->float->double round trip in a struct of two doubles rounds") {
  std::vector<Point> points(5, {0.1, 1.0 / 3.0});
  round_to_float(points);
  for (auto& p : points) {
    CHECK(p.x == 0x1.99999ap-4);
    CHECK(p.y == 0x1.555556p-2);
  }
}

TEST_CASE("compiler: a*b + c is rounded twice unless the source says fma") {
  const double a = 1 + 0x1p-30;
  CHECK(multiply_add(a, a, -(1 + 0x1p-29)) == 0);  // the exact answer, 2^-60, is lost in the product
  CHECK(__builtin_fma(a, a, -(1 + 0x1p-29)) == 0x1p-60);
}
