// Random weights for any config: those that an engine asks for.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <map>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/errors.h"
#include "core/base/rng.h"

namespace syco {

inline constexpr std::size_t kMostWeights = 120;
inline constexpr std::int64_t kMostNumbers = std::int64_t{1} << 20;  // of a weight

// What stands in `text` between two parts; empty where they do not.
inline std::string between(std::string_view text, std::string_view before, std::string_view after) {
  const std::size_t start = text.find(before), end = text.rfind(after);
  if (start == std::string_view::npos || end == std::string_view::npos || end < start + before.size()) return {};
  return std::string(text.substr(start + before.size(), end - start - before.size()));
}

// Numbers in [-0.5, 0.5), in the shape that an error writes as "8, 4".
inline at::Tensor random_weight(const std::string& shape, Draws draws) {
  std::vector<std::int64_t> sizes;
  std::istringstream list(shape);
  std::int64_t numbers = 1;
  for (std::string size; std::getline(list, size, ',');) {
    sizes.push_back(std::stoll(size));
    if (sizes.back() > kMostNumbers / numbers) throw ModelError("a weight of more numbers than this maker makes");
    numbers *= sizes.back();
  }
  at::Tensor weight = at::zeros(sizes, at::kFloat);
  for (float& x : std::span(weight.data_ptr<float>(), numbers)) x = static_cast<float>(draws.unit()) - 0.5F;
  return weight;
}

// The weights that `Engine` wants for a config, as its errors name them: first what it misses, then each one's shape.
// Throws what the engine says of the config itself.
template <typename Engine>
std::map<std::string, at::Tensor> asked_weights(const std::string& config_json, const Rng& rng) {
  std::map<std::string, at::Tensor> weights;
  for (;;) {
    std::string said;
    try {
      Engine(config_json, weights);
      return weights;
    } catch (const ModelError& error) {
      said = error.what();
    }
    const std::string name = between(said, "engine: weight ", " has shape ");
    if (!name.empty()) {
      weights[name] = random_weight(between(said, "wanted [", "]"), rng.at(Stream::kTest, weights.size()));
    } else if (said.starts_with("engine: the model has no weight ") && weights.size() < kMostWeights) {
      weights[said.substr(std::string_view("engine: the model has no weight ").size())] = at::zeros({0, 0, 0});
    } else {
      throw ModelError(said);
    }
  }
}

}  // namespace syco
