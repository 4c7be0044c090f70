// Random numbers by key: what item `index` of stream `stream` draws depends on (seed, stream, index) alone, never on
// threads, batches or order. Philox4x64-10: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace syco {

// What a sequence of draws is for. Two purposes never share numbers.
enum class Stream : std::uint64_t {
  kCells = 1,       // which example gets which truth and polarity
  kWrongLabels,     // which wrong label a claim states
  kPolarity,        // is / is not of the recipe wei2023
  kOpinions,        // arm and order of a sampled prompt
  kPersonas,        // name, age, schools
  kTemplates,       // which paraphrase
  kRows,            // which row of a generated table holds which prompt
  kExamples,        // order in which the examples of a set are used
  kSums,            // operands and errors of additions
  kInterleaving,    // places of instruction rows in a training mix
  kInstructions,    // order in which instruction rows are used
  kSignFlips = 13,  // signs of a permutation test; 12 is used up
  kTest = 1u << 16  // for tests
};

// The draws of one item, in order: those of numpy.random.Philox(key=[seed, stream], counter=[0, index, 0, 0]).
class Draws {
 public:
  Draws(std::uint64_t seed, std::uint64_t stream, std::uint64_t index) : key_{seed, stream}, counter_{0, index, 0, 0} {}

  // 64 random bits.
  std::uint64_t next() {
    if (used_ == block_.size()) refill();
    return block_[used_++];
  }
  // Uniform in [0, bound), without bias (Lemire 2019). `bound` must be > 0.
  std::uint64_t below(std::uint64_t bound);
  // Uniform in [0, 1), 53 bits.
  double unit() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

 private:
  void refill();

  std::array<std::uint64_t, 2> key_;
  std::array<std::uint64_t, 4> counter_;
  std::array<std::uint64_t, 4> block_ = {};
  std::size_t used_ = 4;
};

struct Rng {
  std::uint64_t seed = 0;

  Draws at(Stream stream, std::uint64_t index) const { return {seed, static_cast<std::uint64_t>(stream), index}; }
};

// A random order of 0 .. size-1 with random access in both directions and no table: an alternating Feistel network over
// the next power of two, walked until it falls inside (Black and Rogaway 2002).
class Permutation {
 public:
  // The order drawn by `draws`; `size` may be 0 (then nothing may be asked).
  Permutation(std::uint64_t size, Draws draws);

  std::uint64_t size() const { return size_; }
  // The item at position `i` < size.
  std::uint64_t operator()(std::uint64_t i) const;
  // The position of item `j` < size.
  std::uint64_t inverse(std::uint64_t j) const;

 private:
  static constexpr std::size_t kRounds = 8;

  std::uint64_t forward_once(std::uint64_t x) const;
  std::uint64_t backward_once(std::uint64_t x) const;
  std::uint64_t round_bits(std::size_t round, std::uint64_t half) const;

  std::uint64_t size_;
  std::uint64_t low_bits_ = 0;
  std::uint64_t low_mask_ = 0;
  std::uint64_t high_mask_ = 0;
  std::array<std::uint64_t, kRounds> keys_ = {};
};

}  // namespace syco
