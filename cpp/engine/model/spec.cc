#include "engine/model/spec.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/model/config_reader.h"
#include "engine/model/rotations.h"

namespace syco {
namespace {

using nlohmann::json;
using Reader = ConfigReader;

// Which layers have the sliding window of a config.
enum class Windows { kNone, kEverywhere, kByLayer };

// Reads the window of each layer; refuses one that the family's own code takes no notice of.
void read_windows(Reader& config, Spec& spec, Windows which) {
  const bool used = config.take("use_sliding_window", true), by_layer = which == Windows::kByLayer;
  const std::int64_t window = config.number("sliding_window", 0, 0);
  if (window > 0 && !by_layer && !(which == Windows::kEverywhere && used)) Reader::refuse("sliding_window", window);
  spec.windows.assign(spec.num_layers, used ? window : 0);
  const json kinds = config.take("layer_types", json::array());
  const bool is_lacking = kinds.empty() && by_layer && used && window > 0;
  if (!kinds.is_array() || is_lacking || (!kinds.empty() && kinds.size() != spec.windows.size())) {
    Reader::refuse("layer_types", kinds);
  }
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    if (by_layer && kinds[i] == "full_attention") spec.windows[i] = 0;
    if (kinds[i] != (spec.windows[i] == 0 ? "full_attention" : "sliding_attention")) {
      Reader::refuse("layer_types", kinds[i]);
    }
  }
}

void read_sizes(Reader& config, Spec& spec, const std::string& intermediate = "intermediate_size") {
  spec.num_layers = config.number("num_hidden_layers", -1, 1, kMostLayers);
  spec.hidden = config.number("hidden_size");
  spec.intermediate = config.number(intermediate);
  spec.vocab = config.number("vocab_size");
  spec.context_length = config.number("max_position_embeddings");
  spec.num_heads = config.number("num_attention_heads");
  spec.num_kv_heads = config.number("num_key_value_heads", spec.num_heads);
  if (spec.num_heads % spec.num_kv_heads != 0) Reader::refuse("num_key_value_heads", spec.num_kv_heads);
  spec.head_dim = config.number("head_dim", spec.hidden / spec.num_heads, 1, kMostHeadSize);
  spec.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim));
}

// Families that store attention in the hidden size, whatever else a config says of its heads.
void expect_heads_fill_hidden(const Spec& spec) {
  if (spec.num_heads * spec.head_dim == spec.hidden) return;
  throw ModelError("engine: num_attention_heads * head_dim must be hidden_size, got " + std::to_string(spec.num_heads) +
                   " * " + std::to_string(spec.head_dim) + " and " + std::to_string(spec.hidden));
}

// Those that also have as many keys as queries.
void expect_plain_heads(const Spec& spec) {
  if (spec.num_kv_heads != spec.num_heads) Reader::refuse("num_key_value_heads", spec.num_kv_heads);
  expect_heads_fill_hidden(spec);
}

// Families that learned a vector for each position: nothing turns, every token sees all before it.
void set_learned_positions(Spec& spec) {
  spec.windows.assign(spec.num_layers, 0);
  spec.rotations = {{}};
  spec.layer_rotations.assign(spec.num_layers, 0);
}

// What most families have: norms over the root mean square, a gated MLP.
void read_common(Reader& config, Spec& spec, Windows windows, const RotationRules& rotations = {},
                 const std::string& activation = "hidden_act") {
  read_sizes(config, spec);
  spec.norm_epsilon = static_cast<float>(config.real("rms_norm_eps", 1e-6, kLeastEpsilon));
  spec.activation = config.activation(activation);
  read_windows(config, spec, windows);
  read_rotations(config, spec, rotations);
}

void read_llama(Reader& config, Spec& spec) { read_common(config, spec, Windows::kNone); }

void read_mistral(Reader& config, Spec& spec) { read_common(config, spec, Windows::kEverywhere); }

void read_phi3(Reader& config, Spec& spec) { read_common(config, spec, Windows::kEverywhere, {.in_part = true}); }

void read_qwen2(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kByLayer);
  config.expect("use_mrope", false);
}

void read_qwen2_vl(Reader& config, Spec& spec) { read_common(config, spec, Windows::kByLayer, {.by_axes = true}); }

void read_qwen3(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kByLayer);
  spec.qk_norm = QkNorm::kHead;
}

void set_gemma(Reader& config, Spec& spec) {
  config.expect("use_bidirectional_attention", false);
  spec.norm = NormKind::kRmsPlusOne;
  spec.embedding_scale = std::sqrt(static_cast<float>(spec.hidden));
}

void read_gemma(Reader& config, Spec& spec) {
  config.take("hidden_activation", nullptr);  // transformers takes hidden_act
  read_common(config, spec, Windows::kNone);
  set_gemma(config, spec);
}

void set_gemma2(Reader& config, Spec& spec) {
  config.take("hidden_act", nullptr);  // transformers takes hidden_activation
  set_gemma(config, spec);
  spec.norm_place = NormPlace::kAround;
  spec.attention_scale = static_cast<float>(1 / std::sqrt(config.real("query_pre_attn_scalar", 256, 0)));
  spec.logit_cap = config.optional_positive("final_logit_softcapping");
}

void read_gemma2(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kByLayer, {}, "hidden_activation");
  set_gemma2(config, spec);
  spec.attention_cap = config.optional_positive("attn_logit_softcapping");
}

void read_gemma3(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kByLayer, {.by_kind = true}, "hidden_activation");
  set_gemma2(config, spec);
  config.take("attn_logit_softcapping", nullptr);  // transformers takes no notice of it
  spec.qk_norm = QkNorm::kHead;
}

void read_olmo2(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kNone);
  spec.norm_place = NormPlace::kAfter;
  spec.qk_norm = QkNorm::kWhole;
}

void read_olmo3(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kByLayer, {.by_kind = true});
  spec.norm_place = NormPlace::kAfter;
  spec.qk_norm = QkNorm::kWhole;
}

// Layers whose number in no_rope_layers is 0 know no positions.
void read_smollm3(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kByLayer);
  const json turned = config.take("no_rope_layers", json::array());
  if (!turned.is_array() || std::ssize(turned) < spec.num_layers) Reader::refuse("no_rope_layers", turned);
  spec.rotations.push_back({});
  for (std::int64_t i = 0; i < spec.num_layers; ++i) {
    if (turned[i] != 0 && turned[i] != 1) Reader::refuse("no_rope_layers", turned);
    spec.layer_rotations[i] = turned[i] == 1 ? 0 : 1;
  }
}

void read_granite(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kNone);
  spec.embedding_scale = static_cast<float>(config.real("embedding_multiplier", 1, 0));
  spec.attention_scale = static_cast<float>(config.real("attention_multiplier", 1, 0));
  spec.residual_scale = static_cast<float>(config.real("residual_multiplier", 1, 0));
  spec.head_scale = static_cast<float>(1 / config.real("logits_scaling", 1, 1e-30));
}

void read_glm(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kNone, {.in_part = true, .neighbours = true});
}

void read_glm4(Reader& config, Spec& spec) {
  read_glm(config, spec);
  spec.norm_place = NormPlace::kAround;
}

void read_starcoder2(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kEverywhere);
  spec.norm = NormKind::kLayer;
  spec.norm_epsilon = static_cast<float>(config.real("norm_epsilon", 1e-5, kLeastEpsilon));
  spec.gated = false;
}

void read_experts(Reader& config, Spec& spec) {
  Experts& experts = spec.experts;
  experts.count = config.number("num_local_experts", config.number("num_experts", 0, 0));
  experts.chosen = config.number("num_experts_per_tok", -1, 1, experts.count);
  experts.layers.assign(spec.num_layers, 1);
}

// Sizes of experts that no layer has, or of an MLP that none has: no weight would confirm them.
void drop_sizes_of_nothing(Spec& spec) {
  const auto with_experts = std::ranges::count(spec.experts.layers, 1);
  if (with_experts == spec.num_layers) spec.intermediate = spec.experts.intermediate;
  if (with_experts == 0) spec.experts = {};
}

void read_mixtral(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kEverywhere);
  read_experts(config, spec);
  spec.experts.intermediate = spec.intermediate;
}

void read_qwen3_moe(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kEverywhere);
  read_experts(config, spec);
  spec.qk_norm = QkNorm::kHead;
  spec.experts.intermediate = config.number("moe_intermediate_size");
  spec.experts.normalized = config.take("norm_topk_prob", false);
  const std::int64_t step = config.number("decoder_sparse_step", 1);
  for (std::int64_t i = 0; i < spec.num_layers; ++i) spec.experts.layers[i] = (i + 1) % step == 0 ? 1 : 0;
  const json plain = config.take("mlp_only_layers", json::array());
  for (const json& layer : plain) {
    if (!layer.is_number_integer() || layer < 0 || layer >= spec.num_layers) Reader::refuse("mlp_only_layers", plain);
    spec.experts.layers[layer.get<std::size_t>()] = 0;
  }
  drop_sizes_of_nothing(spec);
}

void read_opt(Reader& config, Spec& spec) {
  spec.layout = Layout::kOpt;
  spec.norm = NormKind::kLayer;
  spec.norm_epsilon = 1e-5F;  // torch's
  spec.gated = false;
  read_sizes(config, spec, "ffn_dim");
  expect_plain_heads(spec);
  spec.activation = config.activation("activation_function");
  set_learned_positions(spec);
  config.expect("do_layer_norm_before", true);
  config.expect("_remove_final_layer_norm", false);
  config.expect("layer_norm_elementwise_affine", true);
  config.expect("word_embed_proj_dim", spec.hidden);
}

void read_falcon(Reader& config, Spec& spec) {
  spec.layout = Layout::kFalcon;
  spec.norm = NormKind::kLayer;
  spec.norm_epsilon = static_cast<float>(config.real("layer_norm_epsilon", 1e-5, kLeastEpsilon));
  spec.gated = false;
  read_sizes(config, spec, "ffn_hidden_size");
  expect_heads_fill_hidden(spec);
  const bool grouped = config.take("new_decoder_architecture", false);
  const std::int64_t kv_heads = config.number("num_kv_heads", spec.num_heads);
  const bool one_key = config.take("multi_query", true);
  spec.num_kv_heads = grouped || !one_key ? kv_heads : 1;
  if (spec.num_heads % spec.num_kv_heads != 0 || (!grouped && !one_key && kv_heads != spec.num_heads)) {
    Reader::refuse("num_kv_heads", kv_heads);
  }
  spec.parallel_residual = config.take("parallel_attn", true);
  if (grouped && !spec.parallel_residual) Reader::refuse("parallel_attn", false);
  // Which norms there are is read from the weights.
  config.take("num_ln_in_parallel_attn", nullptr);
  config.expect("alibi", false);
  spec.activation = config.activation("activation");
  read_windows(config, spec, Windows::kNone);
  read_rotations(config, spec, {});
}

void read_gpt_neox(Reader& config, Spec& spec) {
  read_common(config, spec, Windows::kNone, {.in_part = true});
  spec.layout = Layout::kNeox;
  expect_plain_heads(spec);
  spec.norm = NormKind::kLayer;
  spec.norm_epsilon = static_cast<float>(config.real("layer_norm_eps", 1e-5, kLeastEpsilon));
  spec.gated = false;
  spec.parallel_residual = config.take("use_parallel_residual", true);
}

void read_gpt2(Reader& config, Spec& spec) {
  spec.layout = Layout::kGpt2;
  spec.norm = NormKind::kLayer;
  spec.gated = false;
  spec.num_layers = config.number("n_layer", -1, 1, kMostLayers);
  spec.hidden = config.number("n_embd");
  spec.intermediate = config.number("n_inner", 4 * spec.hidden);
  spec.vocab = config.number("vocab_size");
  spec.context_length = config.number("n_positions");
  spec.num_heads = spec.num_kv_heads = config.number("n_head");
  if (spec.hidden % spec.num_heads != 0) Reader::refuse("n_head", spec.num_heads);
  spec.head_dim = spec.hidden / spec.num_heads;
  spec.attention_scale = 1.0F / std::sqrt(static_cast<float>(spec.head_dim));
  spec.norm_epsilon = static_cast<float>(config.real("layer_norm_epsilon", 1e-5, kLeastEpsilon));
  spec.activation = config.activation("activation_function");
  set_learned_positions(spec);
  config.expect("scale_attn_weights", true);
  config.expect("scale_attn_by_inverse_layer_idx", false);
  config.take("reorder_and_upcast_attn", false);
  config.expect("add_cross_attention", false);
}

Spec read_decoder(Reader& config) {
  static const std::map<std::string, void (*)(Reader&, Spec&)> families = {{"llama", read_llama},
                                                                           {"mistral", read_mistral},
                                                                           {"qwen2", read_qwen2},
                                                                           {"qwen2_vl_text", read_qwen2_vl},
                                                                           {"qwen2_5_vl_text", read_qwen2_vl},
                                                                           {"qwen3", read_qwen3},
                                                                           {"gemma", read_gemma},
                                                                           {"gemma2", read_gemma2},
                                                                           {"gemma3_text", read_gemma3},
                                                                           {"phi3", read_phi3},
                                                                           {"olmo2", read_olmo2},
                                                                           {"olmo3", read_olmo3},
                                                                           {"smollm3", read_smollm3},
                                                                           {"granite", read_granite},
                                                                           {"glm", read_glm},
                                                                           {"glm4", read_glm4},
                                                                           {"starcoder2", read_starcoder2},
                                                                           {"mixtral", read_mixtral},
                                                                           {"qwen3_moe", read_qwen3_moe},
                                                                           {"opt", read_opt},
                                                                           {"falcon", read_falcon},
                                                                           {"gpt_neox", read_gpt_neox},
                                                                           {"gpt2", read_gpt2}};
  Spec spec{.family = config.take("model_type", "")};
  const auto family = families.find(spec.family);
  if (family == families.end()) throw ModelError("engine: it does not know model_type \"" + spec.family + "\"");
  config.expect("is_encoder_decoder", false);
  family->second(config, spec);
  spec.tied_head = config.take("tie_word_embeddings", spec.layout == Layout::kGpt2);
  if (spec.head_dim % 2 != 0) Reader::refuse("head_dim", spec.head_dim);  // features are packed in pairs
  return spec;
}

}  // namespace

Spec read_spec(const std::string& config_json) { return read_config(config_json, read_decoder); }

}  // namespace syco
