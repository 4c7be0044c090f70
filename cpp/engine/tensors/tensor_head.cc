#include "engine/tensors/tensor_head.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <limits>

#include "engine/tensors/tensor_layers.h"

namespace syco {
namespace {

constexpr std::int64_t kRows = 256;     // of hidden states in one product, the last ones of a job repeated
constexpr std::int64_t kTokens = 8192;  // of the vocabulary in one product

// The rows that are scored, each once, and for each target its index among them.
struct Scored {
  std::vector<std::int64_t> rows;     // within the chunk, filled up to a multiple of kRows
  std::vector<std::int64_t> indices;  // (T)
  std::vector<std::int64_t> tokens;   // (T)
};

Scored scored_rows(std::span<const Target> targets, std::int64_t first_row) {
  Scored scored;
  for (const Target& target : targets) {
    if (scored.rows.empty() || scored.rows.back() != target.row - first_row) {
      scored.rows.push_back(target.row - first_row);
    }
    scored.indices.push_back(static_cast<std::int64_t>(scored.rows.size()) - 1);
    scored.tokens.push_back(target.token);
  }
  scored.rows.resize((scored.rows.size() + kRows - 1) / kRows * kRows, scored.rows.back());
  return scored;
}

at::Tensor logits_of(const Spec& spec, const Matrix& head, const at::Tensor& hidden, std::int64_t first_token,
                     std::int64_t tokens) {
  const auto part = [&](const Weight& whole) {
    return whole.defined() ? tensor_of(whole.rows(first_token, tokens), hidden.device()).to(at::kFloat) : at::Tensor();
  };
  const at::Tensor weight = part(head.weight), bias = part(head.bias);
  at::Tensor logits = at::empty({hidden.size(0), tokens}, hidden.options());
  for (std::int64_t row = 0; row < hidden.size(0); row += kRows) {
    logits.narrow(0, row, kRows).copy_(at::linear(hidden.narrow(0, row, kRows), weight, bias));
  }
  return spec.logit_cap > 0 ? logits.div_(spec.logit_cap).tanh_().mul_(spec.logit_cap) : logits;
}

// (T, 3) float32: each target's logit, and the greatest logit and the log-sum-exp of its row.
at::Tensor run_head(const Spec& spec, const Matrix& head, const at::Tensor& hidden, const at::Tensor& indices,
                    const at::Tensor& tokens) {
  const double lowest = -std::numeric_limits<double>::infinity();
  at::Tensor total = at::full({hidden.size(0)}, lowest, hidden.options()), greatest = total.clone();
  at::Tensor wanted = at::full({tokens.size(0)}, lowest, hidden.options());
  for (std::int64_t first = 0; first < head.rows; first += kTokens) {
    const std::int64_t count = std::min(kTokens, head.rows - first);
    const at::Tensor logits = logits_of(spec, head, hidden, first, count);
    total = at::logaddexp(total, logits.logsumexp({1}));
    greatest = greatest.maximum(logits.amax({1}));
    const at::Tensor place = tokens - first, here = place.ge(0).logical_and(place.lt(count));
    wanted = at::where(here, logits.index({indices, place.clamp(0, count - 1)}), wanted);
  }
  return at::stack({wanted, greatest.index_select(0, indices), total.index_select(0, indices)}, 1);
}

}  // namespace

void add_log_probs(const Spec& spec, const Weights& weights, const at::Tensor& hidden, std::int64_t first_row,
                   std::span<const Target> targets, ScoreResult& result) {
  if (targets.empty()) return;
  const Scored scored = scored_rows(targets, first_row);
  const auto on_device = [&](const std::vector<std::int64_t>& values) {
    return at::tensor(at::ArrayRef<std::int64_t>(values), hidden.options().dtype(at::kLong));
  };
  const at::Tensor states = normalized(spec, weights.final_norm, hidden.index_select(0, on_device(scored.rows)));
  const at::Tensor numbers =
      run_head(spec, weights.head, states * spec.head_scale, on_device(scored.indices), on_device(scored.tokens)).cpu();
  const auto at = numbers.accessor<float, 2>();
  for (std::size_t t = 0; t < targets.size(); ++t) {
    const auto i = static_cast<std::int64_t>(t);
    result.log_probs[targets[t].sequence] += static_cast<double>(at[i][0]) - at[i][2];
    if (!(at[i][0] >= at[i][1])) result.is_greedy[targets[t].sequence] = 0;  // also where a logit is not a number
  }
}

}  // namespace syco
