#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "engine/panels/panel_engine.h"
#include "engine/tensors/tensor_engine.h"
#include "makers/asked_tensors.h"
#include "makers/random_job.h"
#include "makers/tiny_configs.h"

namespace syco {
namespace {

TEST(BothEngines, ScoreAlike) {
  for (const char* config : kDecoderConfigs) {
    const auto weights = asked_weights<PanelEngine>(config, Rng{0});
    const RandomJob job(4);
    const auto ours = PanelEngine(config, weights).score(Team(1), job.sequences(), {}, [](auto, auto) {}).log_probs;
    const auto theirs =
        TensorEngine(config, tensors_of(weights)).score(job.sequences(), {.chunk_rows = 0}, [](auto, auto) {});
    for (std::size_t i = 0; i < ours.size(); ++i) EXPECT_NEAR(ours[i], theirs.log_probs[i], 1e-3) << config;
  }
}

TEST(BothEngines, ShareTheMemoryOfAWeight) {
  const at::Tensor tensor = at::zeros({2, 3, 4}, at::kBFloat16);
  const Weight weight = weights_of({{"a", tensor}}).at("a");
  EXPECT_EQ(weight.type(), NumberType::kBFloat16);
  EXPECT_EQ(weight.at(1).rows(2, 1).data(), tensor[1][2].const_data_ptr());
  EXPECT_EQ(tensor_of(weight, at::kCPU).const_data_ptr(), tensor.const_data_ptr());
  EXPECT_EQ(tensor_of(weight, at::kCPU).sizes(), tensor.sizes());
}

}  // namespace
}  // namespace syco
