// Takes keys out of a transformers config and checks them; what is left at the end is unknown.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/errors.h"
#include "engine/model/spec.h"

namespace syco {

// More than any model has, and few enough that products of three sizes do not run round, nor lists of them fill memory.
inline constexpr std::int64_t kMostLayers = 1 << 16, kMostSize = 1 << 30, kMostHeadSize = 1 << 16;
inline constexpr double kLeastEpsilon = -1e-300;  // 0 is one

class ConfigReader {
 public:
  using json = nlohmann::json;

  explicit ConfigReader(json config) : config_(std::move(config)) {}

  // A key that is absent or null is `otherwise`.
  json take(const std::string& key, json otherwise);
  // A whole number from `least` to `most`; `otherwise` where the config has none.
  std::int64_t number(const std::string& key, std::int64_t otherwise = -1, std::int64_t least = 1,
                      std::int64_t most = kMostSize);
  // A finite number greater than `above`.
  double real(const std::string& key, double otherwise, double above);
  // A finite number greater than 0, or 0 where the config has none.
  float optional_positive(const std::string& key);
  Activation activation(const std::string& key);
  // For keys that must have one value.
  void expect(const std::string& key, const json& wanted);
  // Throws ModelError naming a key that was not taken and that may change what the model computes.
  void refuse_rest() const;

  [[noreturn]] static void refuse(const std::string& key, const json& value);

 private:
  json config_;
};

Activation activation_of(const std::string& key, const nlohmann::json& name);

// Reads the text of a config. What the parser says of a text or a type becomes an error of ours.
template <typename AnySpec>
AnySpec read_config(const std::string& text, AnySpec (*read)(ConfigReader&)) {
  try {
    ConfigReader config(nlohmann::json::parse(text));
    AnySpec spec = read(config);
    config.refuse_rest();
    return spec;
  } catch (const nlohmann::json::exception& error) {
    throw ModelError(std::string("engine: it cannot read the config: ") + error.what());
  }
}

}  // namespace syco
