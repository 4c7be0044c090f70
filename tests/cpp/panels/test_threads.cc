#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

#include "engine/panels/panel_engine.h"
#include "engine/tensors/tensor_engine.h"
#include "makers/asked_weights.h"
#include "makers/tiny_configs.h"

namespace syco {
namespace {

constexpr std::int64_t kAlphabet = 90;  // tokens that every config has

// Sequences that share beginnings, enough of them for several panels; the first ends where the others part from it.
struct Job {
  std::vector<std::int32_t> tokens, num_context;
  std::vector<std::int64_t> offsets = {0};

  explicit Job(std::int64_t count) {
    for (std::int64_t s = 0; s < count; ++s) {
      Draws draws = Rng{7}.at(Stream::kTest, s);
      const auto length = static_cast<std::int64_t>(20 + draws.below(60)),
                 own = static_cast<std::int64_t>(draws.below(20));
      for (std::int64_t i = 0; i < length; ++i) {
        tokens.push_back(static_cast<std::int32_t>(i < own ? i % kAlphabet : draws.below(kAlphabet)));
      }
      num_context.push_back(static_cast<std::int32_t>(length - 1 - static_cast<std::int64_t>(draws.below(3))));
      offsets.push_back(std::ssize(tokens));
    }
  }
  Sequences sequences() const { return {tokens, offsets, num_context}; }
};

// Teams of a size of their own, whatever this machine has and its environment says.
template <typename Engine>
std::vector<double> score(const Engine& engine, const Job& job, int threads, MatmulPrecision precision) {
  return engine
      .score(Team(threads), job.sequences(), {.precision = precision, .panels_per_thread = 2}, [](auto, auto) {})
      .log_probs;
}

template <typename Engine>
void expect_same_bits(const char* config, MatmulPrecision precision) {
  const Engine engine(config, asked_weights<Engine>(config, Rng{0}));
  const Job job(24);
  const auto wanted = score(engine, job, 1, precision);
  EXPECT_EQ(score(engine, job, 4, precision), wanted) << config;
  std::vector<std::vector<double>> found(2);
  {
    std::vector<std::jthread> jobs;
    jobs.reserve(found.size());
    for (auto& one : found) jobs.emplace_back([&] { one = score(engine, job, 3, precision); });
  }
  EXPECT_EQ(found, std::vector(2, wanted)) << config;
}

TEST(PanelThreads, DoNotChangeABitOfADecodersScores) {
  for (const char* config : kDecoderConfigs) expect_same_bits<PanelEngine>(config, MatmulPrecision::kHighest);
  expect_same_bits<PanelEngine>(kDecoderConfigs[0], MatmulPrecision::kHigh);
  expect_same_bits<PanelEngine>(kDecoderConfigs[0], MatmulPrecision::kMedium);
}

TEST(PanelThreads, DoNotChangeABitOfAnEncoderDecodersScores) {
  for (const char* config : kEncoderDecoderConfigs) {
    expect_same_bits<PanelEncoderDecoderEngine>(config, MatmulPrecision::kHighest);
  }
}

TEST(PanelThreads, ScoreWithBothEnginesAlike) {
  for (const char* config : kDecoderConfigs) {
    const auto weights = asked_weights<PanelEngine>(config, Rng{0});
    const Job job(4);
    const auto ours = score(PanelEngine(config, weights), job, 1, MatmulPrecision::kHighest);
    const auto theirs = TensorEngine(config, weights).score(job.sequences(), {.chunk_rows = 0}, [](auto, auto) {});
    for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs.log_probs[i], 1e-3) << config;
  }
}

}  // namespace
}  // namespace syco
