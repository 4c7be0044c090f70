// Steps of a layer on plain tensors, (rows, features), on any device; weights in float32, bfloat16 or float16.
#pragma once

#include <initializer_list>
#include <vector>

#include "engine/model/weights.h"
#include "engine/tensors/tensors.h"

namespace syco {

// norm(x) over the last dimension; x and the result are float32.
at::Tensor normalized(const Spec& spec, const Norm& norm, const at::Tensor& x);

// Products with x, (R, columns) in the weights' type, and the biases: (R, rows) each, in that type. Neighbours that are
// parts of one stored weight are one product.
std::vector<at::Tensor> products(std::initializer_list<const Matrix*> matrices, const at::Tensor& x);

// Heads (R, heads, head_dim) turned by the angles whose cosine and sine are given, (R, pairs) each.
at::Tensor rotated(const Rotation& rotation, const at::Tensor& heads, const at::Tensor& cosine, const at::Tensor& sine);

// What the experts make of x, (R, hidden) in the weights' type, that the router chooses for each row; float32. Products
// are in the weights' type, the router's too; probabilities and sums over experts are float32.
at::Tensor run_experts(const Spec& spec, const LayerWeights& layer, const at::Tensor& x);

// down(act(gate) * up), or down(act(up)), of x; in the weights' type.
at::Tensor run_mlp(const Spec& spec, const LayerWeights& layer, const at::Tensor& x);

}  // namespace syco
