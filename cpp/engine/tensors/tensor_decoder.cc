#include "engine/tensors/tensor_decoder.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

#include "core/plan/branches.h"

namespace syco {

void TensorDecoder::begin(const Plan& plan, std::int64_t rows) {
  plan_ = &plan;
  rows_ = rows;
  const std::int64_t depth = plan.max_depth;
  const auto floats = options().dtype(at::kFloat);
  for (const Rotation& rotation : spec_.rotations) {
    const at::Tensor frequencies = at::tensor(at::ArrayRef<float>(rotation.frequencies), floats);
    const at::Tensor angles = at::arange(depth, floats).unsqueeze(1) * frequencies;
    cosines_.push_back(angles.cos() * rotation.scale);
    sines_.push_back(angles.sin() * rotation.scale);
  }
  chain_keys_ = at::empty({spec_.num_layers, depth, spec_.num_kv_heads, spec_.head_dim}, options());
  chain_values_ = at::empty_like(chain_keys_);
}

at::Tensor TensorDecoder::run(std::int64_t first_row, const std::function<void()>& tick) {
  enter(first_row);
  at::Tensor residual = embed();
  const auto type = options().dtype().toScalarType();
  const auto read = [&](const Norm& norm) {
    return (norm.weight.defined() ? normalized(spec_, norm, residual) : residual).to(type);
  };
  for (std::int64_t layer = 0; layer < spec_.num_layers; ++layer) {
    const LayerWeights& w = weights_.layers[layer];
    const at::Tensor beside = spec_.parallel_residual ? read(w.mlp_norm) : at::Tensor();
    const at::Tensor attended = attend(layer, read(w.attention_norm));
    tick();
    join(residual, products({&w.output}, attended)[0], w.attention_out_norm);
    tick();
    const auto mlp = spec_.experts.in(layer) ? run_experts : run_mlp;
    join(residual, mlp(spec_, w, spec_.parallel_residual ? beside : read(w.mlp_norm)), w.mlp_out_norm);
    tick();
  }
  return residual;
}

void TensorDecoder::enter(std::int64_t first_row) {
  first_row_ = first_row;
  const std::int64_t end = std::min(first_row + rows_, plan_->num_tokens());
  num_rows_ = end - first_row;
  std::vector<std::int64_t> tokens(rows_, 0), depths(rows_, 0);
  std::copy_n(plan_->tokens.begin() + first_row, num_rows_, tokens.begin());
  std::copy_n(plan_->depths.begin() + first_row, num_rows_, depths.begin());
  tokens_ = indices(tokens);
  depths_ = indices(depths);
  Branches branches = make_branches(*plan_, first_row, end);
  num_before_ = branches.num_before;
  keys_ = indices(branches.keys);
  lengths_ =
      make_lengths(std::move(branches.cumulative_queries), std::move(branches.cumulative_keys), options().device());
  std::vector<std::int64_t> kept, kept_depths;
  for (std::int64_t row = end < plan_->num_tokens() ? plan_->parents[end] : -1; row >= first_row;
       row = plan_->parents[row]) {
    kept.push_back(row - first_row);
    kept_depths.push_back(plan_->depths[row]);
  }
  kept_rows_ = indices(kept);
  kept_depths_ = indices(kept_depths);
}

at::Tensor TensorDecoder::indices(const std::vector<std::int64_t>& values) const {
  return at::tensor(at::ArrayRef<std::int64_t>(values), options().dtype(at::kLong));
}

at::Tensor TensorDecoder::embed() const {
  at::Tensor x = embedding_.index_select(0, tokens_).to(at::kFloat) * spec_.embedding_scale;
  if (!weights_.positions.defined()) return x;
  return x + tensor_of(weights_.positions, options().device()).index_select(0, depths_).to(at::kFloat);
}

// Heads (rows, heads, head_dim) in the weights' type.
at::Tensor TensorDecoder::prepare_heads(const Norm& norm, const at::Tensor& projected, std::int64_t num_heads,
                                        std::int64_t layer) const {
  at::Tensor x = projected;
  if (spec_.qk_norm == QkNorm::kWhole) x = normalized(spec_, norm, x.to(at::kFloat));
  x = x.unflatten(1, {num_heads, spec_.head_dim});
  if (spec_.qk_norm == QkNorm::kHead) x = normalized(spec_, norm, x.to(at::kFloat));
  const std::int64_t which = spec_.layer_rotations[layer];
  if (!spec_.rotations[which].frequencies.empty()) {
    x = rotated(spec_.rotations[which], x.to(at::kFloat), cosines_[which].index_select(0, depths_),
                sines_[which].index_select(0, depths_));
  }
  return x.to(options().dtype().toScalarType());
}

at::Tensor TensorDecoder::attend(std::int64_t layer, const at::Tensor& x) {
  const LayerWeights& w = weights_.layers[layer];
  const std::vector<at::Tensor> projected = products({&w.query, &w.key, &w.value}, x);
  const at::Tensor query = prepare_heads(w.query_norm, projected[0], spec_.num_heads, layer).narrow(0, 0, num_rows_);
  const at::Tensor key = prepare_heads(w.key_norm, projected[1], spec_.num_kv_heads, layer);
  const at::Tensor value = projected[2].unflatten(1, {spec_.num_kv_heads, spec_.head_dim});
  const auto attention = uses_flash_ ? flash_attention : plain_attention;
  const at::Tensor mixed = attention(
      query.contiguous(), keys_of_branches(chain_keys_[layer], key), keys_of_branches(chain_values_[layer], value),
      lengths_, {.scale = spec_.attention_scale, .window = spec_.windows[layer], .cap = spec_.attention_cap});
  keep_chain(layer, key, value);
  at::Tensor attended = at::zeros({rows_, spec_.num_heads * spec_.head_dim}, options());
  attended.narrow(0, 0, num_rows_).copy_(mixed.flatten(1));
  return attended;
}

at::Tensor TensorDecoder::keys_of_branches(const at::Tensor& chain, const at::Tensor& own) const {
  return at::cat({chain.narrow(0, 0, num_before_), own}).index_select(0, keys_);
}

void TensorDecoder::keep_chain(std::int64_t layer, const at::Tensor& key, const at::Tensor& value) {
  chain_keys_[layer].index_copy_(0, kept_depths_, key.index_select(0, kept_rows_));
  chain_values_[layer].index_copy_(0, kept_depths_, value.index_select(0, kept_rows_));
}

// residual += product, normalized before it joins where there is a norm.
void TensorDecoder::join(at::Tensor& residual, const at::Tensor& product, const Norm& norm) const {
  residual.add_(norm.weight.defined() ? normalized(spec_, norm, product.to(at::kFloat)) : product,
                spec_.residual_scale);
}

}  // namespace syco
