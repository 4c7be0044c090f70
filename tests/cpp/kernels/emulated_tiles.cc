#include "kernels/emulated_tiles.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#include <immintrin.h>

#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>

// As Intel's manual (Software Developer's Manual, volume 2; "Intel AMX instruction set reference") describes them, for
// tiles of 16 rows of 64 bytes. Registers are undefined, and here refused, until they are configured and written.
namespace amx {
namespace {

constexpr int kTiles = 8, kRows = 16, kRowBytes = 64;

struct Tile {
  std::array<std::array<std::uint8_t, kRowBytes>, kRows> rows;
  bool is_written = false;
};

thread_local std::array<Tile, kTiles> tiles;
thread_local bool is_configured = false;

void load_config(const void* memory) {
  struct {
    std::uint8_t palette, start_row, reserved[14];
    std::uint16_t row_bytes[16];
    std::uint8_t rows[16];
  } config;
  static_assert(sizeof config == 64);
  std::memcpy(&config, memory, sizeof config);
  is_configured = config.palette == 1 && config.start_row == 0;
  for (int i = 0; i < kTiles; ++i) is_configured &= config.row_bytes[i] == kRowBytes && config.rows[i] == kRows;
  for (int i = kTiles; i < 16; ++i) is_configured &= config.row_bytes[i] == 0 && config.rows[i] == 0;
  tiles.fill({});
}

void release() { is_configured = false; }

Tile& writable(int number) {
  if (!is_configured) throw std::logic_error("AMX: a tile is used without a configuration");
  tiles.at(number).is_written = true;
  return tiles[number];
}

const Tile& written(int number) {
  if (!is_configured || !tiles.at(number).is_written)
    throw std::logic_error("AMX: a tile is read before it is written");
  return tiles[number];
}

void zero(int number) { writable(number).rows = {}; }

void load(int number, const void* memory, std::int64_t stride) {
  Tile& tile = writable(number);
  for (int i = 0; i < kRows; ++i) std::memcpy(tile.rows[i].data(), static_cast<const char*>(memory) + i * stride, 64);
}

void store(int number, void* memory, std::int64_t stride) {
  const Tile& tile = written(number);
  for (int i = 0; i < kRows; ++i) std::memcpy(static_cast<char*>(memory) + i * stride, tile.rows[i].data(), 64);
}

template <typename Number>
Number number_at(const Tile& tile, int row, int column) {
  Number number;
  std::memcpy(&number, tile.rows[row].data() + column * sizeof number, sizeof number);
  return number;
}

float bfloat16_at(const Tile& tile, int row, int column) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(number_at<std::uint16_t>(tile, row, column)) << 16);
}

// sums (16, 16) += a (16, 32) x b, whose row k holds features 2 k and 2 k + 1 of its 16 columns.
void add_products(int sums, int a, int b) {
  const Tile &left = written(a), &right = written(b);
  written(sums);
  Tile& sum = writable(sums);
  for (int i = 0; i < kRows; ++i) {
    for (int j = 0; j < kRows; ++j) {
      float even = 0, odd = 0;
      for (int k = 0; k < kRows; ++k) {
        even += bfloat16_at(left, i, 2 * k) * bfloat16_at(right, k, 2 * j);
        odd += bfloat16_at(left, i, 2 * k + 1) * bfloat16_at(right, k, 2 * j + 1);
      }
      const float total = number_at<float>(sum, i, j) + (even + odd);
      std::memcpy(sum.rows[i].data() + j * sizeof total, &total, sizeof total);
    }
  }
}

}  // namespace
}  // namespace amx

#undef _tile_loadconfig
#undef _tile_release
#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbf16ps
#define _tile_loadconfig amx::load_config
#define _tile_release amx::release
#define _tile_zero amx::zero
#define _tile_loadd amx::load
#define _tile_stored amx::store
#define _tile_dpbf16ps amx::add_products

// The file under test and its header once more, in a namespace of their own: only as a source of this one does it see
// the macros above, so that including it is meant, whatever clang-tidy suspects.
#define x86 emulated_x86
#include "engine/kernels/tiles_x86.cc"  // NOLINT(bugprone-suspicious-include)
#undef x86

namespace syco::tiles::emulated {

bool is_available() { return true; }
void begin() { emulated_x86::load_config(); }
void end() { emulated_x86::release(); }
void multiply(std::int64_t rows, std::int64_t depth, const Factor& left, const Factor& right, const Counted& counted,
              float* out) {
  emulated_x86::multiply_on_amx(rows, depth, left, right, counted, out);
}

}  // namespace syco::tiles::emulated

#else

namespace syco::tiles::emulated {

bool is_available() { return false; }
void begin() {}
void end() {}
void multiply(std::int64_t, std::int64_t, const Factor&, const Factor&, const Counted&, float*) {}

}  // namespace syco::tiles::emulated

#endif
