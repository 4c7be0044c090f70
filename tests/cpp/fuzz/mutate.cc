// A seeded mutation loop over the fuzz targets, for compilers without libFuzzer: syco_fuzz SECONDS [TARGET] (or
// syco_engine_fuzz). Inputs depend on their number alone, so the same command meets the same failure again.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "core/base/rng.h"
#include "fuzz/fuzz_targets.h"

namespace {

using Input = std::vector<std::uint8_t>;

Input mutated(Input input, syco::Draws& draws) {
  const std::uint64_t num_changes = 1 + draws.below(8);
  for (std::uint64_t change = 0; change < num_changes; ++change) {
    const auto at = static_cast<std::ptrdiff_t>(draws.below(input.size() + 1));
    const std::uint64_t kind = draws.below(4);
    if (kind == 0 || input.empty()) {
      input.insert(input.begin() + at, static_cast<std::uint8_t>(draws.below(256)));
    } else if (kind == 1) {
      input.erase(input.begin() + at / 2, input.begin() + at);
    } else if (kind == 2) {
      const Input part(input.begin() + at / 2, input.begin() + at);
      input.insert(input.begin() + at, part.begin(), part.end());
    } else {
      input[static_cast<std::size_t>(at) % input.size()] = static_cast<std::uint8_t>(draws.below(256));
    }
  }
  constexpr std::size_t kMaxBytes = 4096;
  if (input.size() > kMaxBytes) input.resize(kMaxBytes);
  return input;
}

// Runs a target for some seconds on inputs that walk away from its seed and return to it.
std::uint64_t fuzz(const syco::FuzzTarget& target, double seconds) {
  constexpr std::uint64_t kWalk = 16;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  const Input seed(target.seed.begin(), target.seed.end());
  Input input = seed;
  std::uint64_t run = 0;
  for (; std::chrono::steady_clock::now() < end; ++run) {
    syco::Draws draws = syco::Rng{0}.at(syco::Stream::kTest, run);
    input = mutated(run % kWalk == 0 ? seed : input, draws);
    target.run(input);
  }
  return run;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::stod(argv[1]) : 30;
  for (const syco::FuzzTarget& target : syco::fuzz_targets()) {
    if (argc > 2 && std::string(argv[2]) != target.name) continue;
    std::cout << target.name << ": " << fuzz(target, seconds) << " inputs\n" << std::flush;
  }
}
