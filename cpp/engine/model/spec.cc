#include "engine/model/spec.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <set>

#include "core/base/errors.h"

namespace syco {
namespace {

using nlohmann::json;

// More than any model has, and few enough that products of three sizes do not run round, nor lists of them fill memory.
constexpr std::int64_t kMostLayers = 1 << 16, kMostSize = 1 << 30, kMostHeadSize = 1 << 16;
constexpr double kLeastEpsilon = -1e-300;  // 0 is one

// Keys without influence on a forward pass in inference.
const std::set<std::string>& irrelevant_keys() {
  static const std::set<std::string> keys = {
      "_attn_implementation", "_attn_implementation_autoset", "_model_name_or_path", "_name_or_path", "architectures",
      "attention_dropout", "attn_pdrop", "bos_token_id", "chunk_size_feed_forward", "classifier_dropout", "dtype",
      "dropout_rate", "embd_pdrop", "eos_token_id", "hidden_dropout", "id2label", "initializer_factor",
      "initializer_range", "is_decoder", "label2id", "max_window_layers", "original_max_position_embeddings",
      "output_attentions", "output_hidden_states", "output_past", "pad_token_id", "pretraining_tp", "problem_type",
      "resid_pdrop", "return_dict", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
      "summary_type", "summary_use_proj", "task_specific_params", "torch_dtype", "transformers_version", "unk_token_id",
      "use_cache", "is_llama_config", "rope_interleaved", "transformers.js_config", "auto_map", "custom_pipelines",
      "gradient_checkpointing", "max_sequence_length", "n_ctx", "unsloth_fixed", "unsloth_version", "use_flash_attn",
      // Whether a bias exists is read from the weights.
      "attention_bias", "mlp_bias"};
  return keys;
}

// Takes keys out of a config; what is left at the end is unknown.
class Reader {
 public:
  explicit Reader(json config) : config_(std::move(config)) {}

  json take(const std::string& key, json otherwise) {
    const auto found = config_.find(key);
    if (found == config_.end()) return otherwise;
    json value = *found;
    config_.erase(found);
    return value.is_null() ? otherwise : value;
  }
  // A whole number from `least` to `most`; `otherwise` where the config has none.
  std::int64_t number(const std::string& key, std::int64_t otherwise = -1, std::int64_t least = 1,
                      std::int64_t most = kMostSize) {
    const json value = take(key, otherwise);
    if (!value.is_number_integer() || value < least || value > most) refuse(key, value);
    return value;
  }
  // A finite number greater than `above`.
  double real(const std::string& key, double otherwise, double above) {
    const json value = take(key, otherwise);
    if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() <= above) refuse(key, value);
    return value;
  }
  // For keys that must have one value.
  void expect(const std::string& key, const json& wanted) {
    const json value = take(key, wanted);
    if (value != wanted) refuse(key, value);
  }
  [[noreturn]] static void refuse(const std::string& key, const json& value) {
    throw ModelError("engine: it does not know config value " + key + "=" + value.dump());
  }
  void refuse_rest() const {
    for (const auto& [key, value] : config_.items()) {
      if (!irrelevant_keys().contains(key)) refuse(key, value);
    }
  }

 private:
  json config_;
};

Activation activation_of(const std::string& key, const json& name) {
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  Reader::refuse(key, name);
}

Activation read_activation(Reader& config, const std::string& key) {
  return activation_of(key, config.take(key, "silu"));
}

// A finite number greater than 0 of what a config says about rotation.
double positive(const json& rope, const std::string& key) {
  const json value = rope.value(key, json());
  if (!value.is_number() || !std::isfinite(value.get<double>()) || value.get<double>() <= 0) Reader::refuse(key, value);
  return value;
}

// Llama 3.1: long wavelengths are stretched, short ones kept, those between blended (transformers' "llama3").
void stretch_llama3(const json& rope, std::vector<float>& frequencies) {
  const double factor = positive(rope, "factor"), low = positive(rope, "low_freq_factor");
  const double high = positive(rope, "high_freq_factor"), trained = positive(rope, "original_max_position_embeddings");
  if (high <= low) Reader::refuse("high_freq_factor", high);
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

// `has_part`: whether the family rotates only a part of a head's features if the config says so.
std::vector<float> read_rotation(Reader& config, std::int64_t head_dim, bool has_part) {
  json rope = config.take("rope_parameters", json::object());
  // Configs of earlier versions keep these outside.
  const double base = config.real("rope_theta", rope.value("rope_theta", 10000.0), 0);
  const double part = config.real("partial_rotary_factor", rope.value("partial_rotary_factor", 1.0), 0);
  if (part > 1 || (!has_part && part != 1)) Reader::refuse("partial_rotary_factor", part);
  const json old = config.take("rope_scaling", nullptr);
  if (!old.is_null()) rope.update(old);
  const std::string type = rope.value("rope_type", rope.value("type", "default"));
  const auto rotary = static_cast<std::int64_t>(static_cast<double>(head_dim) * part);
  if (rotary < 1) Reader::refuse("partial_rotary_factor", part);
  std::vector<float> frequencies;
  for (std::int64_t i = 0; i < rotary; i += 2) {
    frequencies.push_back(1.0F /
                          std::pow(static_cast<float>(base), static_cast<float>(i) / static_cast<float>(rotary)));
  }
  if (type == "linear") {
    for (float& frequency : frequencies) frequency /= static_cast<float>(positive(rope, "factor"));
  } else if (type == "llama3") {
    stretch_llama3(rope, frequencies);
  } else if (type != "default") {
    Reader::refuse("rope_type", type);
  }
  return frequencies;
}

// Sliding windows: of all layers or, as the config says, of some; families without them are refused with one.
std::vector<std::int64_t> read_windows(Reader& config, const std::string& family, std::int64_t num_layers) {
  const bool by_layer = family == "qwen2" || family == "qwen3", everywhere = family == "mistral" || family == "phi3";
  const bool used = config.take("use_sliding_window", true);
  const std::int64_t window = config.number("sliding_window", 0, 0);
  if (window > 0 && !by_layer && !(everywhere && used)) Reader::refuse("sliding_window", window);
  std::vector<std::int64_t> windows(num_layers, used ? window : 0);
  const json kinds = config.take("layer_types", json::array());
  if (!kinds.is_array() || (!kinds.empty() && kinds.size() != windows.size())) Reader::refuse("layer_types", kinds);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    if (by_layer && kinds[i] == "full_attention") windows[i] = 0;
    if (kinds[i] != (windows[i] == 0 ? "full_attention" : "sliding_attention")) Reader::refuse("layer_types", kinds[i]);
  }
  return windows;
}

void read_sizes(Reader& config, Spec& spec) {
  spec.num_layers = config.number("num_hidden_layers", -1, 1, kMostLayers);
  spec.hidden = config.number("hidden_size");
  spec.intermediate = config.number("intermediate_size");
  spec.vocab = config.number("vocab_size");
  spec.context_length = config.number("max_position_embeddings");
  spec.num_heads = config.number("num_attention_heads");
  spec.num_kv_heads = config.number("num_key_value_heads", spec.num_heads);
  if (spec.num_heads % spec.num_kv_heads != 0) Reader::refuse("num_key_value_heads", spec.num_kv_heads);
  spec.head_dim = config.number("head_dim", spec.hidden / spec.num_heads, 1, kMostHeadSize);
  const bool has_part = spec.family == "phi3" || spec.family == "gpt_neox";
  spec.inverse_frequencies = read_rotation(config, spec.head_dim, has_part);
}

void read_family(Reader& config, Spec& spec) {
  const std::string& family = spec.family;
  spec.norm_epsilon = static_cast<float>(config.real("rms_norm_eps", 1e-6, kLeastEpsilon));
  if (family == "qwen2") config.expect("use_mrope", false);
  if (family == "qwen3") spec.qk_norm = QkNorm::kHead;
  if (family == "phi3") spec.layout = Layout::kPhi3;
  if (family == "gemma") {
    config.expect("use_bidirectional_attention", false);
    config.take("hidden_activation", nullptr);  // transformers takes hidden_act
    spec.norm = NormKind::kRmsPlusOne;
    spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden));
  } else if (family == "olmo2") {
    spec.norm_place = NormPlace::kAfter;
    spec.qk_norm = QkNorm::kWhole;
  } else if (family == "gpt_neox") {
    spec.layout = Layout::kNeox;
    // A fused weight holds as many keys as queries, which share the hidden size.
    if (spec.num_kv_heads != spec.num_heads) Reader::refuse("num_key_value_heads", spec.num_kv_heads);
    if (spec.head_dim * spec.num_heads != spec.hidden) Reader::refuse("head_dim", spec.head_dim);
    spec.norm = NormKind::kLayer;
    spec.norm_epsilon = static_cast<float>(config.real("layer_norm_eps", 1e-5, kLeastEpsilon));
    spec.gated = false;
    spec.parallel_residual = config.take("use_parallel_residual", true);
  }
}

Spec read_gpt2(Reader& config) {
  Spec spec{.family = "gpt2", .layout = Layout::kGpt2, .norm = NormKind::kLayer, .gated = false};
  spec.num_layers = config.number("n_layer", -1, 1, kMostLayers);
  spec.hidden = config.number("n_embd");
  spec.intermediate = config.number("n_inner", 4 * spec.hidden);
  spec.vocab = config.number("vocab_size");
  spec.context_length = config.number("n_positions");
  spec.num_heads = spec.num_kv_heads = config.number("n_head");
  if (spec.hidden % spec.num_heads != 0) Reader::refuse("n_head", spec.num_heads);
  spec.head_dim = spec.hidden / spec.num_heads;
  spec.norm_epsilon = static_cast<float>(config.real("layer_norm_epsilon", 1e-5, kLeastEpsilon));
  spec.activation = read_activation(config, "activation_function");
  spec.windows.assign(spec.num_layers, 0);
  config.expect("scale_attn_weights", true);
  config.expect("scale_attn_by_inverse_layer_idx", false);
  config.take("reorder_and_upcast_attn", false);
  config.expect("add_cross_attention", false);
  return spec;
}

// "relu", "gated-gelu" and the like.
void read_feed_forward(Reader& config, Spec& spec) {
  const std::string form = config.take("feed_forward_proj", "relu");
  spec.gated = form.starts_with("gated-");
  // As transformers reads it: this one means the approximation by tanh.
  const std::string name = form == "gated-gelu" ? "gelu_new" : form.substr(spec.gated ? 6 : 0);
  spec.activation = activation_of("feed_forward_proj", name);
  config.expect("is_gated_act", spec.gated);
  config.expect("dense_act_fn", name);
}

void read_distances(Reader& config, EncoderDecoderSpec& spec) {
  spec.num_buckets = config.number("relative_attention_num_buckets", 32);
  spec.max_distance = config.number("relative_attention_max_distance", 128);
  // Fewer have none for each direction's 0, and the logarithm's range would be empty.
  if (spec.num_buckets < 4) Reader::refuse("relative_attention_num_buckets", spec.num_buckets);
  if (spec.max_distance <= spec.num_buckets / 2) Reader::refuse("relative_attention_max_distance", spec.max_distance);
}

}  // namespace

namespace {

EncoderDecoderSpec read_t5(const json& whole) {
  Reader config(whole);
  const std::string family = config.take("model_type", "");
  if (family != "t5") throw ModelError("engine: it does not know model_type \"" + family + "\"");
  config.expect("is_encoder_decoder", true);
  EncoderDecoderSpec result{.decoder = {.family = family}};
  Spec& spec = result.decoder;
  spec.vocab = config.number("vocab_size");
  spec.hidden = config.number("d_model");
  spec.intermediate = config.number("d_ff");
  spec.num_heads = spec.num_kv_heads = config.number("num_heads");
  spec.head_dim = config.number("d_kv", -1, 1, kMostHeadSize);
  spec.norm_epsilon = static_cast<float>(config.real("layer_norm_epsilon", 1e-6, kLeastEpsilon));
  result.num_encoder_layers = config.number("num_layers", -1, 1, kMostLayers);
  spec.num_layers = config.number("num_decoder_layers", result.num_encoder_layers, 1, kMostLayers);
  config.take("n_positions", 0);  // what it was trained on: distances have no end
  read_feed_forward(config, spec);
  read_distances(config, result);
  // Whether the head is tied is read from the weights. Newer configs call it tied always and keep its scale apart.
  const bool tied = config.take("tie_word_embeddings", true);
  if (config.take("scale_decoder_outputs", tied)) spec.head_scale = 1.0F / std::sqrt(static_cast<float>(spec.hidden));
  const std::int64_t start = config.number("decoder_start_token_id", -1, 0);
  if (start >= spec.vocab) Reader::refuse("decoder_start_token_id", start);
  result.start_token = static_cast<std::int32_t>(start);
  config.refuse_rest();
  return result;
}

Spec read_decoder(const json& whole) {
  static const std::set<std::string> families = {"llama", "mistral", "qwen2",    "qwen3", "gemma",
                                                 "phi3",  "olmo2",   "gpt_neox", "gpt2"};
  Reader config(whole);
  const std::string family = config.take("model_type", "");
  if (!families.contains(family)) throw ModelError("engine: it does not know model_type \"" + family + "\"");
  config.expect("is_encoder_decoder", false);
  Spec spec{.family = family};
  if (family == "gpt2") {
    spec = read_gpt2(config);
  } else {
    read_sizes(config, spec);
    read_family(config, spec);
    spec.activation = read_activation(config, "hidden_act");
    spec.windows = read_windows(config, family, spec.num_layers);
  }
  spec.tied_head = config.take("tie_word_embeddings", family == "gpt2");
  if (spec.head_dim % 2 != 0) Reader::refuse("head_dim", spec.head_dim);  // features are packed in pairs
  config.refuse_rest();
  return spec;
}

// What the parser of JSON says of a text or a type, as an error of ours.
template <typename AnySpec>
AnySpec translated(const std::string& config_json, AnySpec (*read)(const json&)) {
  try {
    return read(json::parse(config_json));
  } catch (const json::exception& error) {
    throw ModelError(std::string("engine: it cannot read the config: ") + error.what());
  }
}

}  // namespace

EncoderDecoderSpec read_encoder_decoder_spec(const std::string& config_json) {
  return translated(config_json, read_t5);
}

Spec read_spec(const std::string& config_json) { return translated(config_json, read_decoder); }

}  // namespace syco
