#include "engine/kernels/tiles_x86.h"

#include <algorithm>
#include <array>

#include "core/base/errors.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define SYCO_HAS_TILES
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#define SYCO_VECTORS __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")))
#define SYCO_AMX __attribute__((target("amx-tile,amx-bf16")))
#endif

namespace syco::tiles::x86 {

#ifdef SYCO_HAS_TILES
namespace {

constexpr std::int64_t kColumns = 64;  // of a panel
constexpr std::int64_t kColumnTiles = kColumns / kRows;
constexpr std::int64_t kHalfTiles = kColumnTiles / 2;

bool has_vectors() {
  static const bool has = __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  return has;
}

// Linux gives the tile registers only to a process that asks for them.
bool has_amx() {
  static const bool has = [] {
    constexpr std::int64_t kRequestPermission = 0x1023, kTileData = 18;
    return has_vectors() && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
           syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  }();
  return has;
}

// As the instruction LDTILECFG reads it: eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0;
  std::array<std::uint8_t, 14> reserved{};
  std::array<std::uint16_t, 16> row_bytes = {64, 64, 64, 64, 64, 64, 64, 64};
  std::array<std::uint8_t, 16> rows = {16, 16, 16, 16, 16, 16, 16, 16};
};

// A constant, since the compiler does not know that the instruction reads more than its first bytes.
constexpr TileConfig kConfig;

SYCO_AMX void load_config() { _tile_loadconfig(&kConfig); }

SYCO_AMX void release() { _tile_release(); }

// The bfloat16 numbers of `low` and `high`, in that order.
SYCO_VECTORS inline __m512i round_both(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// What rounding to `rounded`, the 16 numbers in the lower or upper half of a vector, left over.
SYCO_VECTORS inline __m512 left_over(__m512 x, __m256i rounded) {
  return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(rounded), 16)));
}

SYCO_VECTORS inline __m512i rest_of_both(__m512 low, __m512 high, __m512i rounded) {
  return round_both(left_over(low, _mm512_castsi512_si256(rounded)),
                    left_over(high, _mm512_extracti64x4_epi64(rounded, 1)));
}

// The lowest `count` lanes, 0 to 16.
inline __mmask16 lanes(std::int64_t count) {
  return static_cast<__mmask16>((1U << std::clamp<std::int64_t>(count, 0, 16)) - 1U);
}

// `count` numbers, 1 to 32, within a row of a left tile.
SYCO_VECTORS inline void round_segment(const float* x, std::int64_t count, std::uint16_t* main, std::uint16_t* rest) {
  const __m512 low = _mm512_maskz_loadu_ps(lanes(count), x), high = _mm512_maskz_loadu_ps(lanes(count - 16), x + 16);
  const auto mask = static_cast<__mmask32>(count == 32 ? ~0U : (1U << count) - 1U);
  const __m512i rounded = round_both(low, high);
  _mm512_mask_storeu_epi16(main, mask, rounded);
  if (rest) _mm512_mask_storeu_epi16(rest, mask, rest_of_both(low, high, rounded));
}

// Two rows of a panel, column by column side by side; zeros where null.
SYCO_VECTORS inline void round_pair(const float* first, const float* second, std::uint16_t* main, std::uint16_t* rest) {
  alignas(64) static constexpr std::array<std::uint16_t, 32> kInterleave = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                                            21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                                            11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  const __m512i order = _mm512_load_si512(kInterleave.data());
  const __m512 zero = _mm512_setzero_ps();
  for (std::int64_t tile = 0; tile < kColumnTiles; ++tile) {
    const __m512 low = first ? _mm512_loadu_ps(first + tile * kRows) : zero;
    const __m512 high = second ? _mm512_loadu_ps(second + tile * kRows) : zero;
    const __m512i rounded = round_both(low, high);
    _mm512_storeu_si512(main + tile * kNumbers, _mm512_permutexvar_epi16(order, rounded));
    if (!rest) continue;
    const __m512i left = rest_of_both(low, high, rounded);
    _mm512_storeu_si512(rest + tile * kNumbers, _mm512_permutexvar_epi16(order, left));
  }
}

// Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns.
SYCO_AMX inline void load_rows(const std::uint16_t* numbers, std::int64_t second) {
  _tile_loadd(4, numbers, kFeatures * 2);
  _tile_loadd(5, numbers + second, kFeatures * 2);
}

SYCO_AMX inline void load_columns(const std::uint16_t* numbers) {
  _tile_loadd(6, numbers, kFeatures * 2);
  _tile_loadd(7, numbers + kNumbers, kFeatures * 2);
}

SYCO_AMX inline void add_products() {
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

// Two tiles of rows times two tiles of columns; left factors' second tile may be the first again.
template <int kProducts>
SYCO_AMX void multiply_four(std::int64_t depth, const Factor& left, std::int64_t second, const Factor& right,
                            const Counted& counted) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (std::int64_t k = 0; k < depth; ++k) {
    if (!counted(k)) continue;
    const std::int64_t a = k * kNumbers, b = k * kColumnTiles * kNumbers;
    load_columns(right.main + b);
    if constexpr (kProducts == 3) {
      load_rows(left.rest + a, second);
      add_products();
    }
    load_rows(left.main + a, second);
    add_products();
    if constexpr (kProducts >= 2) {
      load_columns(right.rest + b);
      add_products();
    }
  }
}

// The results of multiply_four, of which only the first `rows` rows are wanted.
SYCO_AMX void store_four(std::int64_t rows, float* out) {
  constexpr std::int64_t kOutBytes = kColumns * sizeof(float);
  if (rows >= 2 * kRows) {
    _tile_stored(0, out, kOutBytes);
    _tile_stored(1, out + kRows, kOutBytes);
    _tile_stored(2, out + kRows * kColumns, kOutBytes);
    _tile_stored(3, out + kRows * kColumns + kRows, kOutBytes);
    return;
  }
  std::array<float, 4 * kRows * kRows> all;
  constexpr std::int64_t kAllBytes = 2 * kRows * sizeof(float);
  _tile_stored(0, all.data(), kAllBytes);
  _tile_stored(1, all.data() + kRows, kAllBytes);
  _tile_stored(2, all.data() + 2 * kRows * kRows, kAllBytes);
  _tile_stored(3, all.data() + 2 * kRows * kRows + kRows, kAllBytes);
  for (std::int64_t i = 0; i < rows; ++i) std::copy_n(all.data() + i * 2 * kRows, 2 * kRows, out + i * kColumns);
}

template <int kProducts>
void multiply_on_amx(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right,
                     const Counted& counted, float* out) {
  const std::int64_t n = counted.half * kHalfTiles;
  for (std::int64_t m = 0; m < rows; m += 2 * kRows) {
    const std::int64_t second = m + kRows < rows ? depth * kNumbers : 0;
    multiply_four<kProducts>(depth, moved(left, m / kRows * depth * kNumbers), second, moved(right, n * kNumbers),
                             counted);
    store_four(rows - m, out + m * kColumns + n * kRows);
  }
}

void multiply_on_amx(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right,
                     const Counted& counted, float* out) {
  if (left.rest) return multiply_on_amx<3>(rows, depth, left, right, counted, out);
  if (right.rest) return multiply_on_amx<2>(rows, depth, left, right, counted, out);
  multiply_on_amx<1>(rows, depth, left, right, counted, out);
}

constexpr std::int64_t kVectorRows = 8;

SYCO_VECTORS inline __m512 add_product(__m512 sum, std::int32_t pair, __m512i columns) {
  return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair)),
                          reinterpret_cast<__m512bh>(columns));
}

// The pair of features that a row of a left tile begins with.
inline std::int32_t pair_at(const std::uint16_t* numbers) {
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(numbers[0]) | static_cast<std::uint32_t>(numbers[1])
                                                                                << 16);
}

// Eight rows of a left tile times two tiles of columns.
template <int kProducts>
SYCO_VECTORS void multiply_eight(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right,
                                 const Counted& counted, float* out) {
  __m512 sum[kVectorRows][2];
  for (auto& row : sum) row[0] = row[1] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < depth; ++k) {
    if (!counted(k)) continue;
    for (std::int64_t pair = 0; pair < kFeatures / 2; ++pair) {
      const std::int64_t b = k * kColumnTiles * kNumbers + pair * kFeatures;
      const __m512i b0 = _mm512_loadu_si512(right.main + b), b1 = _mm512_loadu_si512(right.main + b + kNumbers);
      __m512i rest0, rest1;
      if constexpr (kProducts >= 2) {
        rest0 = _mm512_loadu_si512(right.rest + b), rest1 = _mm512_loadu_si512(right.rest + b + kNumbers);
      }
#pragma GCC unroll 8
      for (std::int64_t i = 0; i < kVectorRows; ++i) {
        const std::int64_t a = k * kNumbers + i * kFeatures + 2 * pair;
        const std::int32_t main = pair_at(left.main + a);
        if constexpr (kProducts == 3) {
          const std::int32_t rest = pair_at(left.rest + a);
          sum[i][0] = add_product(sum[i][0], rest, b0), sum[i][1] = add_product(sum[i][1], rest, b1);
        }
        if constexpr (kProducts >= 2) {
          sum[i][0] = add_product(sum[i][0], main, rest0), sum[i][1] = add_product(sum[i][1], main, rest1);
        }
        sum[i][0] = add_product(sum[i][0], main, b0), sum[i][1] = add_product(sum[i][1], main, b1);
      }
    }
  }
#pragma GCC unroll 8
  for (std::int64_t i = 0; i < kVectorRows; ++i) {
    if (i >= rows) break;
    _mm512_storeu_ps(out + i * kColumns, sum[i][0]);
    _mm512_storeu_ps(out + i * kColumns + kRows, sum[i][1]);
  }
}

template <int kProducts>
void multiply_on_vectors(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right,
                         const Counted& counted, float* out) {
  const std::int64_t n = counted.half * kHalfTiles;
  for (std::int64_t m = 0; m < rows; m += kVectorRows) {
    const std::int64_t at = m / kRows * depth * kNumbers + m % kRows * kFeatures;
    multiply_eight<kProducts>(rows - m, depth, moved(left, at), moved(right, n * kNumbers), counted,
                              out + m * kColumns + n * kRows);
  }
}

}  // namespace

bool are_available() { return has_vectors(); }

bool have_tiles() { return has_amx(); }

void begin() {
  if (has_amx()) load_config();
}

void end() {
  if (has_amx()) release();
}

SYCO_VECTORS void fill_left(const float* x, std::int64_t x_stride, std::int64_t rows, std::int64_t columns,
                            const Factor& left, std::int64_t row_tiles, std::int64_t row, std::int64_t column) {
  constexpr std::int64_t kAhead = 1024;
  for (std::int64_t i = row; i < row + rows; ++i, x += x_stride) {
    const std::int64_t start = i / kRows * row_tiles * kNumbers + i % kRows * kFeatures;
    for (std::int64_t j = column; j < column + columns;) {
      const std::int64_t count = std::min(kFeatures - j % kFeatures, column + columns - j);
      const Factor to = moved(left, start + j / kFeatures * kNumbers + j % kFeatures);
      // By itself the processor fetches ahead only to the end of a page.
      _mm_prefetch(x + (j - column) + kAhead, _MM_HINT_T0);
      _mm_prefetch(x + (j - column) + kAhead + 16, _MM_HINT_T0);
      round_segment(x + (j - column), count, to.main, to.rest);
      j += count;
    }
  }
}

SYCO_VECTORS void fill_right(const float* x, std::int64_t row, std::int64_t rows, std::int64_t features,
                             const Factor& right) {
  const std::int64_t end = row + rows, filled = end < features ? end : whole(features, kFeatures) * kFeatures;
  for (std::int64_t i = row; i < filled; i += 2, x += 2 * kColumns) {
    const std::int64_t pair = i / 2;
    const Factor to = moved(right, pair / kRows * kColumnTiles * kNumbers + pair % kRows * kFeatures);
    round_pair(i < end ? x : nullptr, i + 1 < end ? x + kColumns : nullptr, to.main, to.rest);
  }
}

void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out) {
  if (!has_amx()) return multiply_on_vectors(rows, depth, left, right, counted, out);
  multiply_on_amx(rows, depth, left, right, counted, out);
}

void multiply_on_vectors(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right,
                         const Counted& counted, float* out) {
  if (left.rest) return multiply_on_vectors<3>(rows, depth, left, right, counted, out);
  if (right.rest) return multiply_on_vectors<2>(rows, depth, left, right, counted, out);
  multiply_on_vectors<1>(rows, depth, left, right, counted, out);
}

#else

namespace {

[[noreturn]] void refuse() { throw ModelError("engine: this build has no bfloat16 instructions"); }

}  // namespace

bool are_available() { return false; }
bool have_tiles() { return false; }
void begin() {}
void end() {}
void fill_left(const float*, std::int64_t, std::int64_t, std::int64_t, const Factor&, std::int64_t, std::int64_t,
               std::int64_t) {
  refuse();
}
void fill_right(const float*, std::int64_t, std::int64_t, std::int64_t, const Factor&) { refuse(); }
void multiply(std::int64_t, std::int64_t, const Factor&, const Factor&, const Counted&, float*) { refuse(); }
void multiply_on_vectors(std::int64_t, std::int64_t, const Factor&, const Factor&, const Counted&, float*) { refuse(); }

#endif

}  // namespace syco::tiles::x86
