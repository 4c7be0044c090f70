#include "engine/model/rotations.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <set>

namespace syco {
namespace {

using nlohmann::json;

// A finite number greater than 0 of what a config says about rotation.
double positive(const json& rope, const std::string& key) {
  const json value = rope.value(key, json());
  if (!value.is_number() || !std::isfinite(value.get<float>()) || value.get<double>() <= 0) {
    ConfigReader::refuse(key, value);
  }
  return value;
}

// The same, or `otherwise` where there is none, null or 0.
double positive_or(const json& rope, const std::string& key, double otherwise) {
  const json value = rope.value(key, json());
  return value.is_null() || value == 0 ? otherwise : positive(rope, key);
}

void check_keys(const json& rope, bool by_axes) {
  static const std::set<std::string> known = {
      "rope_theta",       "rope_type",        "type",      "factor",
      "low_freq_factor",  "high_freq_factor", "finetuned", "original_max_position_embeddings",
      "attention_factor", "beta_fast",        "beta_slow", "partial_rotary_factor",
      "mscale",           "mscale_all_dim",   "truncate"};
  for (const auto& [key, value] : rope.items()) {
    const bool is_known = known.contains(key) || (by_axes && key == "mrope_section");
    if (!is_known && !value.is_null()) ConfigReader::refuse(key, value);
  }
}

// Llama 3.1: long wavelengths are stretched, short ones kept, those between blended (transformers' "llama3").
void stretch_llama3(const json& rope, std::vector<float>& frequencies) {
  const double factor = positive(rope, "factor"), low = positive(rope, "low_freq_factor");
  const double high = positive(rope, "high_freq_factor"), trained = positive(rope, "original_max_position_embeddings");
  if (high <= low) ConfigReader::refuse("high_freq_factor", high);
  for (float& frequency : frequencies) {
    const double wavelength = 2 * std::numbers::pi / frequency;
    const double smooth = (trained / wavelength - low) / (high - low);
    if (wavelength > trained / low) {
      frequency = static_cast<float>(frequency / factor);
    } else if (wavelength >= trained / high) {
      frequency = static_cast<float>((1 - smooth) * frequency / factor + smooth * frequency);
    }
  }
}

double yarn_attention_factor(const json& rope, double factor) {
  const auto grown = [&](double weight) { return factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1; };
  const double above = positive_or(rope, "mscale", 0), below = positive_or(rope, "mscale_all_dim", 0);
  return positive_or(rope, "attention_factor", above > 0 && below > 0 ? grown(above) / grown(below) : grown(1));
}

// YaRN (Peng et al. 2023, section 3.2) as transformers has it: pairs that turn often within the trained context keep
// their frequency, those that turn seldom are slowed down by `factor`, and a ramp leads from the ones to the others.
void stretch_yarn(const json& rope, double base, std::int64_t rotary, double context, Rotation& rotation) {
  if (rotary % 2 != 0) ConfigReader::refuse("partial_rotary_factor", rope.value("partial_rotary_factor", 1.0));
  const double trained = positive(rope, "original_max_position_embeddings");
  const double factor = positive_or(rope, "factor", context / trained);
  const auto pair_of = [&](double turns) {
    return static_cast<double>(rotary) * std::log(trained / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
  };
  double low = pair_of(positive_or(rope, "beta_fast", 32)), high = pair_of(positive_or(rope, "beta_slow", 1));
  if (!std::isfinite(low) || !std::isfinite(high)) ConfigReader::refuse("rope_theta", base);
  if (rope.value("truncate", true)) low = std::floor(low), high = std::ceil(high);
  low = std::max(low, 0.0), high = std::min(high, static_cast<double>(rotary - 1));
  if (low == high) high += 0.001;
  for (std::size_t i = 0; i < rotation.frequencies.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    const double frequency = rotation.frequencies[i];
    rotation.frequencies[i] = static_cast<float>(frequency / factor * slowed + frequency * (1 - slowed));
  }
  rotation.scale = static_cast<float>(yarn_attention_factor(rope, factor));
}

Rotation read_rotation(const json& rope, const Spec& spec, const RotationRules& rules) {
  check_keys(rope, rules.by_axes);
  const double base = positive(rope, "rope_theta"), part = positive(rope, "partial_rotary_factor");
  if (part > 1 || (!rules.in_part && part != 1)) ConfigReader::refuse("partial_rotary_factor", part);
  const auto rotary = static_cast<std::int64_t>(static_cast<double>(spec.head_dim) * part);
  if (rotary < 1) ConfigReader::refuse("partial_rotary_factor", part);
  Rotation rotation{.frequencies = {}, .neighbours = rules.neighbours};
  for (std::int64_t i = 0; i < rotary; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(rotary);
    rotation.frequencies.push_back(1.0F / std::pow(static_cast<float>(base), exponent));
  }
  const std::string type = rope.value("rope_type", rope.value("type", "default"));
  if (type == "linear") {
    for (float& frequency : rotation.frequencies) frequency /= static_cast<float>(positive(rope, "factor"));
  } else if (type == "llama3") {
    stretch_llama3(rope, rotation.frequencies);
  } else if (type == "yarn") {
    stretch_yarn(rope, base, rotary, static_cast<double>(spec.context_length), rotation);
  } else if (type != "default") {
    ConfigReader::refuse("rope_type", type);
  }
  return rotation;
}

}  // namespace

void read_rotations(ConfigReader& config, Spec& spec, const RotationRules& rules) {
  json rope = config.take("rope_parameters", json::object());
  if (!rope.is_object()) ConfigReader::refuse("rope_parameters", rope);
  spec.layer_rotations.assign(spec.num_layers, 0);
  if (rules.by_kind) {
    for (const char* kind : {"full_attention", "sliding_attention"}) {
      json one = rope.value(kind, json::object());
      if (!one.value("truncate", true))
        ConfigReader::refuse("truncate", false);  // which transformers takes no notice of
      if (!one.contains("partial_rotary_factor")) one["partial_rotary_factor"] = 1.0;
      spec.rotations.push_back(read_rotation(one, spec, rules));
      rope.erase(kind);
    }
    for (const auto& [key, value] : rope.items()) ConfigReader::refuse(key, value);
    for (std::int64_t i = 0; i < spec.num_layers; ++i) spec.layer_rotations[i] = spec.windows[i] > 0 ? 1 : 0;
    return;
  }
  // Configs of earlier versions keep these outside.
  rope["rope_theta"] = config.real("rope_theta", rope.value("rope_theta", 10000.0), 0);
  rope["partial_rotary_factor"] = config.real("partial_rotary_factor", rope.value("partial_rotary_factor", 1.0), 0);
  const json old = config.take("rope_scaling", nullptr);
  if (!old.is_null()) rope.update(old);
  spec.rotations = {read_rotation(rope, spec, rules)};
}

}  // namespace syco
