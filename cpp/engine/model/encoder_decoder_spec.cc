#include <cmath>

#include "engine/model/config_reader.h"

namespace syco {
namespace {

// "relu", "gated-gelu" and the like.
void read_feed_forward(ConfigReader& config, Spec& spec) {
  const std::string form = config.take("feed_forward_proj", "relu");
  spec.gated = form.starts_with("gated-");
  // As transformers reads it: this one means the approximation by tanh.
  const std::string name = form == "gated-gelu" ? "gelu_new" : form.substr(spec.gated ? 6 : 0);
  spec.activation = activation_of("feed_forward_proj", name);
  config.expect("is_gated_act", spec.gated);
  config.expect("dense_act_fn", name);
}

void read_distances(ConfigReader& config, EncoderDecoderSpec& spec) {
  spec.num_buckets = config.number("relative_attention_num_buckets", 32);
  spec.max_distance = config.number("relative_attention_max_distance", 128);
  // Fewer have none for each direction's 0, and the logarithm's range would be empty.
  if (spec.num_buckets < 4) ConfigReader::refuse("relative_attention_num_buckets", spec.num_buckets);
  if (spec.max_distance <= spec.num_buckets / 2) {
    ConfigReader::refuse("relative_attention_max_distance", spec.max_distance);
  }
}

EncoderDecoderSpec read_t5(ConfigReader& config) {
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
  if (start >= spec.vocab) ConfigReader::refuse("decoder_start_token_id", start);
  result.start_token = static_cast<std::int32_t>(start);
  return result;
}

}  // namespace

EncoderDecoderSpec read_encoder_decoder_spec(const std::string& config_json) {
  return read_config(config_json, read_t5);
}

}  // namespace syco
