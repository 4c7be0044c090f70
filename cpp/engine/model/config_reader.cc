#include "engine/model/config_reader.h"

#include <cmath>
#include <set>

namespace syco {
namespace {

// Keys without influence on a forward pass in inference.
const std::set<std::string>& irrelevant_keys() {
  static const std::set<std::string> keys = {
      "_attn_implementation", "_attn_implementation_autoset", "_experts_implementation", "_model_name_or_path",
      "_name_or_path", "architectures", "attention_dropout", "attn_pdrop", "bos_token_id", "chunk_size_feed_forward",
      "classifier_dropout", "dropout", "dropout_rate", "dtype", "embd_pdrop", "embedding_dropout", "eos_token_id",
      "hidden_dropout", "id2label", "init_std", "initializer_factor", "initializer_range", "is_decoder", "label2id",
      "layerdrop", "max_window_layers", "original_max_position_embeddings", "output_attentions", "output_hidden_states",
      "output_past", "output_router_logits", "pad_token_id", "prefix", "pretraining_tp", "problem_type", "resid_pdrop",
      "residual_dropout", "return_dict", "router_aux_loss_coef", "router_jitter_noise", "summary_activation",
      "summary_first_dropout", "summary_proj_to_labels", "summary_type", "summary_use_proj", "task_specific_params",
      "torch_dtype", "transformers_version", "unk_token_id", "use_cache", "is_llama_config", "rope_interleaved",
      "transformers.js_config", "auto_map", "custom_pipelines", "gradient_checkpointing", "max_sequence_length",
      "n_ctx", "unsloth_fixed", "unsloth_version", "use_flash_attn",
      // transformers has made layer_types and no_rope_layers of them.
      "_sliding_window_pattern", "sliding_window_pattern", "no_rope_layer_interval",
      // Whether a bias exists is read from the weights.
      "attention_bias", "bias", "enable_bias", "mlp_bias", "use_bias"};
  return keys;
}

}  // namespace

nlohmann::json ConfigReader::take(const std::string& key, json otherwise) {
  const auto found = config_.find(key);
  if (found == config_.end()) return otherwise;
  json value = *found;
  config_.erase(found);
  return value.is_null() ? otherwise : value;
}

std::int64_t ConfigReader::number(const std::string& key, std::int64_t otherwise, std::int64_t least,
                                  std::int64_t most) {
  const json value = take(key, otherwise);
  if (!value.is_number_integer() || value < least || value > most) refuse(key, value);
  return value;
}

double ConfigReader::real(const std::string& key, double otherwise, double above) {
  const json value = take(key, otherwise);
  if (!value.is_number() || !std::isfinite(value.get<float>()) || value.get<float>() <= above) refuse(key, value);
  return value;
}

float ConfigReader::optional_positive(const std::string& key) {
  const bool is_there = config_.contains(key) && !config_[key].is_null();
  const double value = real(key, 1, 0);
  return is_there ? static_cast<float>(value) : 0.0F;
}

Activation ConfigReader::activation(const std::string& key) { return activation_of(key, take(key, "silu")); }

void ConfigReader::expect(const std::string& key, const json& wanted) {
  const json value = take(key, wanted);
  if (value != wanted) refuse(key, value);
}

void ConfigReader::refuse_rest() const {
  for (const auto& [key, value] : config_.items()) {
    if (!irrelevant_keys().contains(key)) refuse(key, value);
  }
}

void ConfigReader::refuse(const std::string& key, const json& value) {
  throw ModelError("engine: it does not know config value " + key + "=" + value.dump());
}

Activation activation_of(const std::string& key, const nlohmann::json& name) {
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::kGeluTanh;
  if (name == "relu") return Activation::kRelu;
  ConfigReader::refuse(key, name);
}

}  // namespace syco
