#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "engine/panels/panel_engine.h"
#include "makers/asked_weights.h"
#include "makers/random_job.h"
#include "makers/tiny_configs.h"

namespace syco {
namespace {

// Teams of a size of their own, whatever this machine has and its environment says.
template <typename Engine>
std::vector<double> score(const Engine& engine, const RandomJob& job, int threads, MatmulPrecision precision) {
  return engine
      .score(Team(threads), job.sequences(), {.precision = precision, .panels_per_thread = 2}, [](auto, auto) {})
      .log_probs;
}

template <typename Engine>
void expect_same_bits(const char* config, MatmulPrecision precision) {
  const Engine engine(config, asked_weights<Engine>(config, Rng{0}));
  const RandomJob job(24);
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

}  // namespace
}  // namespace syco
