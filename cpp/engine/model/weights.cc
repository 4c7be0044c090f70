#include "engine/model/weights.h"

#include <array>
#include <string>
#include <utility>

#include "core/base/errors.h"
#include "engine/model/weight_reader.h"

namespace syco {
namespace {

// Rows [first, first + rows) of a fused layer.
Matrix part(const Matrix& whole, std::int64_t first, std::int64_t rows) {
  Matrix matrix = whole;
  matrix.first_row = first;
  matrix.rows = rows;
  return matrix;
}

// Attention in four layers of their own; `Any` is LayerWeights or CrossWeights.
template <typename Any>
void read_attention(WeightReader& read, const Spec& s, const std::array<std::string, 4>& names, Any& w) {
  const std::int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  w.query = read.linear(names[0], q, s.hidden);
  w.key = read.linear(names[1], kv, s.hidden);
  w.value = read.linear(names[2], kv, s.hidden);
  w.output = read.linear(names[3], s.hidden, q);
}

// A fused layer in which all queries come first, then all keys, then all values.
void split_qkv(const Matrix& whole, const Spec& s, LayerWeights& w) {
  const std::int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  w.query = part(whole, 0, q), w.key = part(whole, q, kv), w.value = part(whole, q + kv, kv);
}

// A fused layer in which the rows of a key head's queries, of its key and of its value follow each other, head by head.
void split_heads(const Matrix& whole, const Spec& s, LayerWeights& w) {
  const std::int64_t group = s.num_heads / s.num_kv_heads * s.head_dim, stride = group + 2 * s.head_dim;
  const auto rows = [&](std::int64_t first, std::int64_t count) {
    Matrix matrix = part(whole, first, s.num_kv_heads * count);
    if (s.num_kv_heads > 1) matrix.block_rows = count, matrix.block_stride = stride;
    return matrix;
  };
  w.query = rows(0, group), w.key = rows(group, s.head_dim), w.value = rows(group + s.head_dim, s.head_dim);
}

// Where norms come before and after, a family's name for the norm after attention is another's for the one before it.
void read_norms(WeightReader& read, const Spec& s, const std::string& at, LayerWeights& w) {
  const auto norm = [&](const std::string& name) { return read.norm(at + name, s.hidden); };
  if (s.norm_place != NormPlace::kAfter) w.attention_norm = norm("input_layernorm");
  if (s.norm_place == NormPlace::kBefore) {
    w.mlp_norm = norm("post_attention_layernorm");
    return;
  }
  const bool glm = read.has(at + "post_mlp_layernorm.weight");
  w.attention_out_norm = norm(glm ? "post_self_attn_layernorm" : "post_attention_layernorm");
  w.mlp_out_norm = norm(glm ? "post_mlp_layernorm" : "post_feedforward_layernorm");
  if (s.norm_place == NormPlace::kAround) {
    w.mlp_norm = norm(glm ? "post_attention_layernorm" : "pre_feedforward_layernorm");
  }
}

void read_experts(WeightReader& read, const Spec& s, const std::string& at, LayerWeights& w) {
  const std::int64_t count = s.experts.count, inner = s.experts.intermediate;
  const Weight fused = read.take(at + "experts.gate_up_proj", {count, 2 * inner, s.hidden});
  const Weight down = read.take(at + "experts.down_proj", {count, s.hidden, inner});
  w.router = {
      .weight = read.take(at + "gate.weight", {count, s.hidden}), .bias = {}, .rows = count, .columns = s.hidden};
  for (std::int64_t e = 0; e < count; ++e) {
    const Matrix gate_up{.weight = fused.at(e), .bias = {}, .rows = 2 * inner, .columns = s.hidden};
    w.experts.push_back({.gate = part(gate_up, 0, inner),
                         .up = part(gate_up, inner, inner),
                         .down = {.weight = down.at(e), .bias = {}, .rows = s.hidden, .columns = inner}});
  }
}

void read_mlp(WeightReader& read, const Spec& s, const std::string& at, LayerWeights& w) {
  if (!s.gated) {
    w.up = read.linear(at + "c_fc", s.intermediate, s.hidden);
    w.down = read.linear(at + "c_proj", s.hidden, s.intermediate);
    return;
  }
  if (read.has(at + "gate_up_proj.weight")) {
    const Matrix gate_up = read.linear(at + "gate_up_proj", 2 * s.intermediate, s.hidden);
    w.gate = part(gate_up, 0, s.intermediate), w.up = part(gate_up, s.intermediate, s.intermediate);
  } else {
    w.gate = read.linear(at + "gate_proj", s.intermediate, s.hidden);
    w.up = read.linear(at + "up_proj", s.intermediate, s.hidden);
  }
  w.down = read.linear(at + "down_proj", s.hidden, s.intermediate);
}

LayerWeights read_split(WeightReader& read, std::int64_t layer, const Spec& s, const std::string& at) {
  const std::int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  const std::string attention = at + "self_attn.";
  LayerWeights w;
  read_norms(read, s, at, w);
  if (s.qk_norm != QkNorm::kNone) {
    const bool whole = s.qk_norm == QkNorm::kWhole;
    w.query_norm = read.norm(attention + "q_norm", whole ? q : s.head_dim);
    w.key_norm = read.norm(attention + "k_norm", whole ? kv : s.head_dim);
  }
  if (read.has(attention + "qkv_proj.weight")) {
    split_qkv(read.linear(attention + "qkv_proj", q + 2 * kv, s.hidden), s, w);
    w.output = read.linear(attention + "o_proj", s.hidden, q);
  } else {
    read_attention(read, s, {attention + "q_proj", attention + "k_proj", attention + "v_proj", attention + "o_proj"},
                   w);
  }
  if (s.experts.in(layer)) {
    read_experts(read, s, at + "mlp.", w);
  } else {
    read_mlp(read, s, at + "mlp.", w);
  }
  return w;
}

// Attention with one fused layer, head by head, and an MLP without gate (GPT-NeoX, Falcon).
void read_fused(WeightReader& read, const Spec& s, const std::string& attention, const std::string& mlp,
                LayerWeights& w) {
  const std::int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  split_heads(read.linear(attention + "query_key_value", q + 2 * kv, s.hidden), s, w);
  w.output = read.linear(attention + "dense", s.hidden, q);
  w.up = read.linear(mlp + "dense_h_to_4h", s.intermediate, s.hidden);
  w.down = read.linear(mlp + "dense_4h_to_h", s.hidden, s.intermediate);
}

LayerWeights read_neox(WeightReader& read, const Spec& s, const std::string& at) {
  LayerWeights w;
  w.attention_norm = read.norm(at + "input_layernorm", s.hidden);
  w.mlp_norm = read.norm(at + "post_attention_layernorm", s.hidden);
  read_fused(read, s, at + "attention.", at + "mlp.", w);
  return w;
}

LayerWeights read_falcon(WeightReader& read, const Spec& s, const std::string& at) {
  LayerWeights w;
  if (read.has(at + "ln_attn.weight")) {
    w.attention_norm = read.norm(at + "ln_attn", s.hidden);
    w.mlp_norm = read.norm(at + "ln_mlp", s.hidden);
  } else {
    w.attention_norm = read.norm(at + "input_layernorm", s.hidden);
    w.mlp_norm = s.parallel_residual ? w.attention_norm : read.norm(at + "post_attention_layernorm", s.hidden);
  }
  read_fused(read, s, at + "self_attention.", at + "mlp.", w);
  return w;
}

LayerWeights read_opt(WeightReader& read, const Spec& s, const std::string& at) {
  LayerWeights w;
  w.attention_norm = read.norm(at + "self_attn_layer_norm", s.hidden);
  w.mlp_norm = read.norm(at + "final_layer_norm", s.hidden);
  const std::string attention = at + "self_attn.";
  read_attention(read, s, {attention + "q_proj", attention + "k_proj", attention + "v_proj", attention + "out_proj"},
                 w);
  w.up = read.linear(at + "fc1", s.intermediate, s.hidden);
  w.down = read.linear(at + "fc2", s.hidden, s.intermediate);
  return w;
}

LayerWeights read_gpt2(WeightReader& read, const Spec& s, const std::string& at) {
  LayerWeights w;
  w.attention_norm = read.norm(at + "ln_1", s.hidden);
  w.mlp_norm = read.norm(at + "ln_2", s.hidden);
  split_qkv(read.turned_linear(at + "attn.c_attn", 3 * s.hidden, s.hidden), s, w);
  w.output = read.turned_linear(at + "attn.c_proj", s.hidden, s.hidden);
  w.up = read.turned_linear(at + "mlp.c_fc", s.intermediate, s.hidden);
  w.down = read.turned_linear(at + "mlp.c_proj", s.hidden, s.intermediate);
  return w;
}

LayerWeights read_layer(WeightReader& read, const Spec& s, std::int64_t layer, const std::string& at) {
  switch (s.layout) {
    case Layout::kSplit:
      return read_split(read, layer, s, at);
    case Layout::kNeox:
      return read_neox(read, s, at);
    case Layout::kGpt2:
      return read_gpt2(read, s, at);
    case Layout::kOpt:
      return read_opt(read, s, at);
    case Layout::kFalcon:
      return read_falcon(read, s, at);
  }
  return {};
}

// Lets the adapters of a fused layer's parts have the rows of their parts.
void place_adapters(LayerWeights& layer) {
  for (Matrix* matrix : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
    if (!matrix->low_rank) continue;
    LowRank low_rank = *matrix->low_rank;
    low_rank.up.rows = matrix->rows, low_rank.up.first_row = matrix->first_row;
    low_rank.up.block_rows = matrix->block_rows, low_rank.up.block_stride = matrix->block_stride;
    matrix->low_rank = std::make_shared<const LowRank>(std::move(low_rank));
  }
}

struct Names {
  std::string embedding, layers, final_norm;
};

Names names_of(Layout layout) {
  if (layout == Layout::kNeox) return {"gpt_neox.embed_in", "gpt_neox.layers.", "gpt_neox.final_layer_norm"};
  if (layout == Layout::kOpt) {
    return {"model.decoder.embed_tokens", "model.decoder.layers.", "model.decoder.final_layer_norm"};
  }
  if (layout == Layout::kFalcon) return {"transformer.word_embeddings", "transformer.h.", "transformer.ln_f"};
  if (layout == Layout::kGpt2) return {"transformer.wte", "transformer.h.", "transformer.ln_f"};
  return {"model.embed_tokens", "model.layers.", "model.norm"};
}

Matrix read_head(WeightReader& read, const Spec& s, bool is_tied, const Weight& embedding) {
  if (!is_tied) {
    Matrix head = read.linear("lm_head", s.vocab, s.hidden);
    if (head.low_rank) throw ModelError("engine: it knows no adapter on lm_head");
    return head;
  }
  return {.weight = embedding, .bias = {}, .rows = s.vocab, .columns = s.hidden};
}

void make_float(Weight& vector) { vector = in_float32(vector); }

void make_float(Norm& norm) {
  make_float(norm.weight);
  make_float(norm.bias);
}

void make_float(LayerWeights& layer) {
  for (Norm* norm : {&layer.attention_norm, &layer.attention_out_norm, &layer.mlp_norm, &layer.mlp_out_norm,
                     &layer.query_norm, &layer.key_norm}) {
    make_float(*norm);
  }
  for (Matrix* matrix : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
    make_float(matrix->bias);
  }
}

void make_float(CrossWeights& cross) {
  make_float(cross.norm);
  for (Matrix* matrix : {&cross.query, &cross.key, &cross.value, &cross.output}) make_float(matrix->bias);
}

}  // namespace

Weights with_float_vectors(Weights weights) {
  make_float(weights.positions);
  for (LayerWeights& layer : weights.layers) make_float(layer);
  make_float(weights.final_norm);
  make_float(weights.head.bias);
  return weights;
}

Weights read_weights(const Spec& spec, std::map<std::string, Weight> named, Adapters adapters) {
  WeightReader read(std::move(named), std::move(adapters));
  const Names names = names_of(spec.layout);
  Weights weights;
  weights.embedding = read.take(names.embedding + ".weight", {spec.vocab, spec.hidden});
  if (spec.layout == Layout::kGpt2) {
    weights.positions = read.take("transformer.wpe.weight", {spec.context_length, spec.hidden});
  } else if (spec.layout == Layout::kOpt) {
    constexpr std::int64_t kFree = 2;  // rows that no position has
    const Weight rows = read.take("model.decoder.embed_positions.weight", {spec.context_length + kFree, spec.hidden});
    weights.positions = rows.rows(kFree, spec.context_length);
  }
  for (std::int64_t i = 0; i < spec.num_layers; ++i) {
    const std::string at = names.layers + std::to_string(i) + ".";
    weights.layers.push_back(read_layer(read, spec, i, at));
    place_adapters(weights.layers.back());
  }
  weights.final_norm = read.norm(names.final_norm, spec.hidden);
  weights.head = read_head(read, spec, spec.tied_head, weights.embedding);
  read.refuse_rest();
  return weights;
}

namespace {

// T5: a block's parts are called layers, attention first and MLP last; norms have no bias.
LayerWeights read_t5_layer(WeightReader& read, const Spec& s, const std::string& at, const std::string& mlp_part) {
  const std::string attention = at + "layer.0.SelfAttention.", mlp = at + mlp_part + "DenseReluDense.";
  LayerWeights w;
  w.attention_norm = {read.take(at + "layer.0.layer_norm.weight", {s.hidden}), {}};
  read_attention(read, s, {attention + "q", attention + "k", attention + "v", attention + "o"}, w);
  w.mlp_norm = {read.take(at + mlp_part + "layer_norm.weight", {s.hidden}), {}};
  if (s.gated) w.gate = read.linear(mlp + "wi_0", s.intermediate, s.hidden);
  w.up = read.linear(mlp + (s.gated ? "wi_1" : "wi"), s.intermediate, s.hidden);
  w.down = read.linear(mlp + "wo", s.hidden, s.intermediate);
  return w;
}

CrossWeights read_t5_cross(WeightReader& read, const Spec& s, const std::string& at) {
  const std::string attention = at + "EncDecAttention.";
  CrossWeights w;
  w.norm = {read.take(at + "layer_norm.weight", {s.hidden}), {}};
  read_attention(read, s, {attention + "q", attention + "k", attention + "v", attention + "o"}, w);
  return w;
}

}  // namespace

EncoderDecoderWeights with_float_vectors(EncoderDecoderWeights weights) {
  weights.decoder = with_float_vectors(std::move(weights.decoder));
  for (LayerWeights& layer : weights.encoder_layers) make_float(layer);
  for (CrossWeights& cross : weights.cross) make_float(cross);
  for (Weight* distances : {&weights.encoder_distances, &weights.decoder_distances}) make_float(*distances);
  make_float(weights.encoder_norm);
  return weights;
}

EncoderDecoderWeights read_encoder_decoder_weights(const EncoderDecoderSpec& spec,
                                                   std::map<std::string, Weight> named) {
  WeightReader read(std::move(named));
  const Spec& s = spec.decoder;
  const std::string distances = "block.0.layer.0.SelfAttention.relative_attention_bias.weight";
  EncoderDecoderWeights weights;
  weights.decoder.embedding = read.take("shared.weight", {s.vocab, s.hidden});
  weights.encoder_distances = read.take("encoder." + distances, {spec.num_buckets, s.num_heads});
  weights.decoder_distances = read.take("decoder." + distances, {spec.num_buckets, s.num_heads});
  for (std::int64_t i = 0; i < spec.num_encoder_layers; ++i) {
    weights.encoder_layers.push_back(read_t5_layer(read, s, "encoder.block." + std::to_string(i) + ".", "layer.1."));
  }
  for (std::int64_t i = 0; i < s.num_layers; ++i) {
    const std::string at = "decoder.block." + std::to_string(i) + ".";
    weights.decoder.layers.push_back(read_t5_layer(read, s, at, "layer.2."));
    weights.cross.push_back(read_t5_cross(read, s, at + "layer.1."));
  }
  weights.encoder_norm = {read.take("encoder.final_layer_norm.weight", {s.hidden}), {}};
  weights.decoder.final_norm = {read.take("decoder.final_layer_norm.weight", {s.hidden}), {}};
  weights.decoder.head = read_head(read, s, !read.has("lm_head.weight"), weights.decoder.embedding);
  read.refuse_rest();
  return weights;
}

}  // namespace syco
