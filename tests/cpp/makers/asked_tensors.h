// The weights of asked_weights.h as torch's tensors.
#pragma once

#include <map>
#include <string>

#include "engine/tensors/tensors.h"
#include "makers/asked_weights.h"

namespace syco {

// On the memory of `weights`, which must outlive them.
inline std::map<std::string, at::Tensor> tensors_of(const std::map<std::string, Weight>& weights) {
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, weight] : weights) tensors.emplace(name, tensor_of(weight, at::kCPU));
  return tensors;
}

}  // namespace syco
