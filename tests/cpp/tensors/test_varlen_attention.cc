#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/tensors/varlen_attention.h"

namespace syco {
namespace {

constexpr std::int64_t kHeads = 4, kKvHeads = 2, kDim = 3;

at::Tensor waves(std::int64_t rows, std::int64_t heads, double pace) {
  return at::arange(rows * heads * kDim, at::kFloat).mul(pace).sin().view({rows, heads, kDim});
}

constexpr double kScale = 0.7;

// One query of one head, number by number: it is at position `at` of the sequence's keys, which begin with `first`.
std::vector<double> slow_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t row,
                                   std::int64_t head, std::int64_t first, std::int64_t at,
                                   const AttentionOptions& options) {
  const auto query = q.accessor<float, 3>(), key = k.accessor<float, 3>(), value = v.accessor<float, 3>();
  const std::int64_t kv_head = head / (kHeads / kKvHeads), window = options.window;
  double total = 0;
  std::vector<double> mixed(kDim, 0.0);
  for (std::int64_t j = window > 0 ? std::max<std::int64_t>(at - window + 1, 0) : 0; j <= at; ++j) {
    double dot = 0;
    for (std::int64_t d = 0; d < kDim; ++d) dot += query[row][head][d] * key[first + j][kv_head][d];
    const double score = options.cap > 0 ? options.cap * std::tanh(kScale * dot / options.cap) : kScale * dot;
    total += std::exp(score);
    for (std::int64_t d = 0; d < kDim; ++d) mixed[d] += std::exp(score) * value[first + j][kv_head][d];
  }
  for (double& x : mixed) x /= total;
  return mixed;
}

TEST(VarlenAttention, IsCausalFromTheEndsOfItsSequences) {
  // Two alike, one of a single query, and one whose queries do not fit into one product.
  const std::vector<std::int32_t> queries = {0, 2, 4, 5, 605}, keys = {0, 7, 14, 20, 640};
  const Lengths lengths = make_lengths(queries, keys, at::kCPU);
  EXPECT_EQ(lengths.max_queries, 600);
  EXPECT_EQ(lengths.max_keys, 620);
  const at::Tensor q = waves(605, kHeads, 0.9), k = waves(640, kKvHeads, 1.3), v = waves(640, kKvHeads, 0.4);
  for (const AttentionOptions& options :
       {AttentionOptions{.scale = kScale}, {.scale = kScale, .window = 3}, {.scale = kScale, .cap = 0.5}}) {
    const at::Tensor found = plain_attention(q, k, v, lengths, options);
    const auto values = found.accessor<float, 3>();
    for (std::size_t s = 0; s + 1 < queries.size(); ++s) {
      const std::int64_t before = keys[s + 1] - keys[s] - (queries[s + 1] - queries[s]);
      for (std::int64_t row = queries[s]; row < queries[s + 1]; row += row < 5 ? 1 : 37) {
        for (std::int64_t h = 0; h < kHeads; ++h) {
          const auto wanted = slow_attention(q, k, v, row, h, keys[s], before + row - queries[s], options);
          for (std::int64_t d = 0; d < kDim; ++d) EXPECT_NEAR(values[row][h][d], wanted[d], 1e-5);
        }
      }
    }
  }
}

TEST(VarlenAttention, HasNoFlashOnTheCpu) {
  EXPECT_FALSE(has_flash_attention(kHeads, kKvHeads, 64, at::TensorOptions(at::kBFloat16)));
}

}  // namespace
}  // namespace syco
