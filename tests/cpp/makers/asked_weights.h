// Random weights for any config: those that an engine asks for.
#pragma once

#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/errors.h"
#include "core/base/rng.h"
#include "engine/kernels/weight.h"

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
inline Weight random_weight(const std::string& shape, Draws draws) {
  std::vector<std::int64_t> sizes;
  std::istringstream list(shape);
  std::int64_t numbers = 1;
  for (std::string size; std::getline(list, size, ',');) {
    sizes.push_back(std::stoll(size));
    if (sizes.back() > kMostNumbers / numbers) throw ModelError("a weight of more numbers than this maker makes");
    numbers *= sizes.back();
  }
  const auto memory = std::make_shared<std::vector<float>>(numbers);
  for (float& x : *memory) x = static_cast<float>(draws.unit()) - 0.5F;
  return {NumberType::kFloat32, sizes, memory->data(), memory};
}

// The weights that `Engine` wants for a config, as its errors name them: first what it misses, then each one's shape.
// Throws what the engine says of the config itself.
template <typename Engine>
std::map<std::string, Weight> asked_weights(const std::string& config_json, const Rng& rng) {
  std::map<std::string, Weight> weights;
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
      weights[said.substr(std::string_view("engine: the model has no weight ").size())] =
          Weight(NumberType::kFloat32, {0, 0, 0}, nullptr, std::make_shared<int>());
    } else {
      throw ModelError(said);
    }
  }
}

}  // namespace syco
