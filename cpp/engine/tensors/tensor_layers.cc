#include "engine/tensors/tensor_layers.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/zeros.h>

namespace syco {
namespace {

at::Tensor in_float(const Weight& weight, const at::Tensor& like) {
  return weight.defined() ? tensor_of(weight, like.device()).to(at::kFloat) : at::Tensor();
}

// What a matrix is of the product with the whole stored weight.
at::Tensor columns_of(const Matrix& matrix, const at::Tensor& product) {
  if (matrix.block_rows == matrix.block_stride) return product.narrow(1, matrix.first_row, matrix.rows);
  return product.unflatten(1, {-1, matrix.block_stride}).narrow(2, matrix.first_row, matrix.block_rows).flatten(1);
}

void activate(Activation activation, at::Tensor& x) {
  switch (activation) {
    case Activation::kSilu:
      at::silu_(x);
      return;
    case Activation::kGelu:
      at::gelu_(x);
      return;
    case Activation::kGeluTanh:
      at::gelu_(x, "tanh");
      return;
    case Activation::kRelu:
      at::relu_(x);
      return;
  }
}

}  // namespace

at::Tensor normalized(const Spec& spec, const Norm& norm, const at::Tensor& x) {
  const at::Tensor weight = in_float(norm.weight, x);
  const std::int64_t features = x.size(-1);
  if (spec.norm == NormKind::kLayer) {
    return at::layer_norm(x, {features}, weight, in_float(norm.bias, x), spec.norm_epsilon);
  }
  return at::rms_norm(x, {features}, spec.norm == NormKind::kRmsPlusOne ? weight + 1 : weight, spec.norm_epsilon);
}

std::vector<at::Tensor> products(std::initializer_list<const Matrix*> matrices, const at::Tensor& x) {
  std::vector<at::Tensor> results;
  const void* multiplied = nullptr;
  at::Tensor product;
  for (const Matrix* matrix : matrices) {
    if (matrix->weight.data() != multiplied) {
      multiplied = matrix->weight.data();
      const at::Tensor stored = tensor_of(matrix->weight, x.device()), bias = tensor_of(matrix->bias, x.device());
      product = at::linear(x, matrix->transposed ? stored.t() : stored, bias);
    }
    results.push_back(columns_of(*matrix, product));
  }
  return results;
}

at::Tensor rotated(const Rotation& rotation, const at::Tensor& heads, const at::Tensor& cosine,
                   const at::Tensor& sine) {
  const std::int64_t pairs = cosine.size(1);
  const at::Tensor c = cosine.unsqueeze(1), s = sine.unsqueeze(1);
  // (R, heads, 2, pairs) or (R, heads, pairs, 2)
  const std::int64_t two = rotation.neighbours ? 3 : 2, outer = rotation.neighbours ? pairs : 2;
  const at::Tensor all = heads.narrow(2, 0, 2 * pairs).unflatten(2, {outer, 2 * pairs / outer});
  const at::Tensor x = all.select(two, 0), y = all.select(two, 1);
  const at::Tensor turned = at::stack({x * c - y * s, y * c + x * s}, two).flatten(2);
  return at::cat({turned, heads.narrow(2, 2 * pairs, heads.size(2) - 2 * pairs)}, 2);
}

namespace {

at::Tensor run_gated(const Spec& spec, const Matrix& gate, const Matrix& up, const Matrix& down, const at::Tensor& x) {
  std::vector<at::Tensor> gate_up = products({&gate, &up}, x);
  activate(spec.activation, gate_up[0]);
  return products({&down}, gate_up[0].mul_(gate_up[1]))[0];
}

}  // namespace

at::Tensor run_mlp(const Spec& spec, const LayerWeights& layer, const at::Tensor& x) {
  if (spec.gated) return run_gated(spec, layer.gate, layer.up, layer.down, x);
  at::Tensor up = products({&layer.up}, x)[0];
  activate(spec.activation, up);
  return products({&layer.down}, up)[0];
}

at::Tensor run_experts(const Spec& spec, const LayerWeights& layer, const at::Tensor& x) {
  const at::Tensor probabilities = at::softmax(products({&layer.router}, x)[0].to(at::kFloat), -1);
  auto [weights, chosen] = at::topk(probabilities, spec.experts.chosen);
  if (spec.experts.normalized) weights = weights / weights.sum({-1}, true);
  at::Tensor mixed = at::zeros(x.sizes(), x.options().dtype(at::kFloat));
  for (std::size_t e = 0; e < layer.experts.size(); ++e) {
    const Expert& expert = layer.experts[e];
    const at::Tensor here = chosen.eq(static_cast<std::int64_t>(e)), rows = here.any(1).nonzero().squeeze(1);
    const at::Tensor weight = (weights * here).sum({1}, true).index_select(0, rows);
    const at::Tensor made = run_gated(spec, expert.gate, expert.up, expert.down, x.index_select(0, rows));
    mixed.index_add_(0, rows, made * weight);
  }
  return mixed;
}

}  // namespace syco
