#include "engine/kernels/strips.h"

#include <algorithm>
#include <cstring>

#include "core/base/clones.h"
#include "engine/kernels/kernels.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(SYCO_PLAIN_KERNELS)
#define SYCO_HAS_WIDE_STRIPS
#define SYCO_AVX512 __attribute__((target("avx512f")))
#endif

namespace syco::strips {
namespace {

constexpr std::int64_t kDepth = 192;  // features of a strip that are summed before any others
constexpr std::int64_t kRows = 6;     // of a product that are summed together

using Vector [[gnu::vector_size(32)]] = float;
using WideVector [[gnu::vector_size(64)]] = float;

// Twelve sums, which AVX2's sixteen registers hold; 192 features of a strip are 12 KiB.
struct Narrow {
  using Any = Vector;
  static constexpr std::int64_t kLanes = 8, kVectors = 2, kWidth = 16;
};
// Twenty-four sums, of AVX-512's thirty-two registers; 192 features are 48 KiB, which a core's own cache gives as fast
// as they are used, since each number is used six times.
struct Wide {
  using Any = WideVector;
  static constexpr std::int64_t kLanes = 16, kVectors = 4, kWidth = kColumns;
};

template <typename Any>
SYCO_INLINE inline void load(const float* x, Any& to) {
  std::memcpy(&to, x, sizeof to);
}

template <typename Any>
SYCO_INLINE inline void store(const Any& x, float* to) {
  std::memcpy(to, &x, sizeof x);
}

// Some rows of a part of a product: one strip's columns, `depth` features. But for the first part, c holds the sums of
// those before.
struct Part {
  const float* a;
  std::int64_t a_stride;
  const float* strip;
  std::int64_t depth;
  float* c;
  bool is_first;
};

// In order, sums go on from those in c, term by term; else the part is summed by itself and then added to them.
template <typename Strip, std::int64_t kCount, bool kInOrder>
SYCO_INLINE inline void add_rows(const Part& part) {
  constexpr std::int64_t kVectors = Strip::kVectors, kLanes = Strip::kLanes;
  typename Strip::Any sum[kCount][kVectors], right[kVectors];
#pragma GCC unroll 6
  for (std::int64_t i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
    for (std::int64_t v = 0; v < kVectors; ++v) {
      sum[i][v] = typename Strip::Any{};
      if (kInOrder && !part.is_first) load(part.c + i * kColumns + v * kLanes, sum[i][v]);
    }
  }
  for (std::int64_t j = 0; j < part.depth; ++j) {
#pragma GCC unroll 4
    for (std::int64_t v = 0; v < kVectors; ++v) load(part.strip + j * Strip::kWidth + v * kLanes, right[v]);
#pragma GCC unroll 6
    for (std::int64_t i = 0; i < kCount; ++i) {
      const float factor = part.a[i * part.a_stride + j];
#pragma GCC unroll 4
      for (std::int64_t v = 0; v < kVectors; ++v) sum[i][v] += factor * right[v];
    }
  }
#pragma GCC unroll 6
  for (std::int64_t i = 0; i < kCount; ++i) {
#pragma GCC unroll 4
    for (std::int64_t v = 0; v < kVectors; ++v) {
      float* c = part.c + i * kColumns + v * kLanes;
      if (!kInOrder && !part.is_first) {
        load(c, right[v]);
        sum[i][v] += right[v];
      }
      store(sum[i][v], c);
    }
  }
}

// The first `rows` of them, kRows at most.
template <typename Strip, bool kInOrder>
SYCO_INLINE inline void add_rows(std::int64_t rows, const Part& part) {
  switch (rows) {
    case 1:
      return add_rows<Strip, 1, kInOrder>(part);
    case 2:
      return add_rows<Strip, 2, kInOrder>(part);
    case 3:
      return add_rows<Strip, 3, kInOrder>(part);
    case 4:
      return add_rows<Strip, 4, kInOrder>(part);
    case 5:
      return add_rows<Strip, 5, kInOrder>(part);
    default:
      return add_rows<Strip, kRows, kInOrder>(part);
  }
}

struct Product {
  std::int64_t m, k;
  const float* a;
  std::int64_t a_stride;
  const float* panel;
  float* c;
};

template <typename Strip, bool kInOrder>
SYCO_INLINE inline void add_parts(const Product& p) {
  for (std::int64_t first = 0; first < p.k; first += kDepth) {
    for (std::int64_t n = 0; n < kColumns; n += Strip::kWidth) {
      for (std::int64_t i = 0; i < p.m; i += kRows) {
        add_rows<Strip, kInOrder>(p.m - i, {.a = p.a + i * p.a_stride + first,
                                            .a_stride = p.a_stride,
                                            .strip = p.panel + n * p.k + first * Strip::kWidth,
                                            .depth = std::min(kDepth, p.k - first),
                                            .c = p.c + i * kColumns + n,
                                            .is_first = first == 0});
      }
    }
  }
}

SYCO_CLONES void multiply_narrow(const Product& product) { add_parts<Narrow, false>(product); }
SYCO_CLONES void multiply_narrow_in_order(const Product& product) { add_parts<Narrow, true>(product); }

SYCO_CLONES void fill_narrow(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, float* panel) {
  constexpr std::int64_t kWidth = Narrow::kWidth;
  for (std::int64_t n = 0; n < kColumns; n += kWidth) {
    float* strip = panel + n * features + row * kWidth;
    for (std::int64_t i = 0; i < rows; ++i)
      std::memcpy(strip + i * kWidth, x + i * kColumns + n, kWidth * sizeof(float));
  }
}

#ifdef SYCO_HAS_WIDE_STRIPS
SYCO_AVX512 void multiply_wide(const Product& product) { add_parts<Wide, false>(product); }
SYCO_AVX512 void multiply_wide_in_order(const Product& product) { add_parts<Wide, true>(product); }
#else
constexpr auto multiply_wide = multiply_narrow, multiply_wide_in_order = multiply_narrow_in_order;
#endif

}  // namespace

bool are_panels() {
#ifdef SYCO_HAS_WIDE_STRIPS
  static const bool has = __builtin_cpu_supports("avx512f");
  return has;
#else
  return false;
#endif
}

void fill(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features, float* panel) {
  if (!are_panels()) return fill_narrow(x, row, rows, features, panel);
  float* to = panel + row * kColumns;
  if (x != to) std::memcpy(to, x, rows * kColumns * sizeof(float));
}

void multiply(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride, const float* panel, float* c) {
  (are_panels() ? multiply_wide : multiply_narrow)({m, k, a, a_stride, panel, c});
}

void multiply_in_order(std::int64_t m, std::int64_t k, const float* a, std::int64_t a_stride, const float* panel,
                       float* c) {
  (are_panels() ? multiply_wide_in_order : multiply_narrow_in_order)({m, k, a, a_stride, panel, c});
}

}  // namespace syco::strips
