// Weights as torch's tensors, and back: the same memory.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "engine/kernels/weight.h"

namespace syco {

// Throws ModelError naming the first that is not contiguous, not on the device of the others, or in another number type
// than float32, bfloat16 and float16.
std::map<std::string, Weight> weights_of(const std::map<std::string, at::Tensor>& tensors);

// Undefined where the weight is.
at::Tensor tensor_of(const Weight& weight, at::Device device);

}  // namespace syco
