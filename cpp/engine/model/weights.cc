#include "engine/model/weights.h"

#include <sstream>

#include "core/base/errors.h"

namespace syco {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

// Takes tensors out of the caller's by name.
class Reader {
 public:
  Reader(Tensors tensors, const at::TensorOptions& kind)
      : tensors_(std::move(tensors)), device_(kind.device()), type_(kind.dtype().toScalarType()) {}

  at::Tensor take(const std::string& name, at::IntArrayRef shape) {
    at::Tensor tensor = find(name, shape);
    if (!tensor.defined()) throw ModelError("engine: the model has no weight " + name);
    return tensor;
  }
  // Undefined where there is none.
  at::Tensor find(const std::string& name, at::IntArrayRef shape) {
    auto found = tensors_.extract(name);
    if (found.empty()) return {};
    const at::Tensor& tensor = found.mapped();
    std::ostringstream wrong;
    if (tensor.sizes() != shape) wrong << "has shape " << tensor.sizes() << ", wanted " << shape;
    if (tensor.device() != device_) wrong << "is on " << tensor.device() << ", wanted " << device_;
    if (tensor.scalar_type() != type_) wrong << "is " << tensor.scalar_type() << ", wanted " << type_;
    if (!tensor.is_contiguous()) wrong << "is not contiguous";
    if (!wrong.str().empty()) throw ModelError("engine: weight " + name + " " + wrong.str());
    return tensor;
  }
  Norm norm(const std::string& name, std::int64_t size) {
    return {take(name + ".weight", {size}), find(name + ".bias", {size})};
  }
  Matrix linear(const std::string& name, std::int64_t rows, std::int64_t columns) {
    return {.weight = take(name + ".weight", {rows, columns}),
            .bias = find(name + ".bias", {rows}),
            .rows = rows,
            .columns = columns};
  }
  // GPT-2 stores its linear layers the other way round.
  Matrix turned_linear(const std::string& name, std::int64_t rows, std::int64_t columns) {
    return {.weight = take(name + ".weight", {columns, rows}),
            .bias = find(name + ".bias", {rows}),
            .rows = rows,
            .columns = columns,
            .transposed = true};
  }
  bool has(const std::string& name) const { return tensors_.contains(name); }
  void refuse_rest() const {
    if (!tensors_.empty())
      throw ModelError("engine: it does not know what to do with weight " + tensors_.begin()->first);
  }

 private:
  Tensors tensors_;
  at::Device device_;
  at::ScalarType type_;
};

// Rows [first, first + rows) of a fused layer.
Matrix part(const Matrix& whole, std::int64_t first, std::int64_t rows) {
  Matrix matrix = whole;
  matrix.first_row = first;
  matrix.rows = rows;
  return matrix;
}

// GPT-NeoX: the rows of a head's query, key and value follow each other, head by head.
Matrix part_of_heads(const Matrix& whole, std::int64_t which, std::int64_t head_dim) {
  Matrix matrix = whole;
  matrix.first_row = which * head_dim;
  matrix.rows = whole.rows / 3;
  matrix.block_rows = head_dim;
  matrix.block_stride = 3 * head_dim;
  return matrix;
}

LayerWeights read_split(Reader& read, const Spec& s, const std::string& at) {
  const std::int64_t q = s.num_heads * s.head_dim, kv = s.num_kv_heads * s.head_dim;
  const std::string attention = at + "self_attn.";
  const bool after = s.norm_place == NormPlace::kAfter;
  LayerWeights w;
  w.attention_norm = read.norm(at + (after ? "post_attention_layernorm" : "input_layernorm"), s.hidden);
  w.mlp_norm = read.norm(at + (after ? "post_feedforward_layernorm" : "post_attention_layernorm"), s.hidden);
  if (s.qk_norm != QkNorm::kNone) {
    const bool whole = s.qk_norm == QkNorm::kWhole;
    w.query_norm = read.norm(attention + "q_norm", whole ? q : s.head_dim);
    w.key_norm = read.norm(attention + "k_norm", whole ? kv : s.head_dim);
  }
  if (s.layout == Layout::kPhi3) {
    const Matrix qkv = read.linear(attention + "qkv_proj", q + 2 * kv, s.hidden);
    const Matrix gate_up = read.linear(at + "mlp.gate_up_proj", 2 * s.intermediate, s.hidden);
    w.query = part(qkv, 0, q), w.key = part(qkv, q, kv), w.value = part(qkv, q + kv, kv);
    w.gate = part(gate_up, 0, s.intermediate), w.up = part(gate_up, s.intermediate, s.intermediate);
  } else {
    w.query = read.linear(attention + "q_proj", q, s.hidden);
    w.key = read.linear(attention + "k_proj", kv, s.hidden);
    w.value = read.linear(attention + "v_proj", kv, s.hidden);
    w.gate = read.linear(at + "mlp.gate_proj", s.intermediate, s.hidden);
    w.up = read.linear(at + "mlp.up_proj", s.intermediate, s.hidden);
  }
  w.output = read.linear(attention + "o_proj", s.hidden, q);
  w.down = read.linear(at + "mlp.down_proj", s.hidden, s.intermediate);
  return w;
}

LayerWeights read_neox(Reader& read, const Spec& s, const std::string& at) {
  const Matrix qkv = read.linear(at + "attention.query_key_value", 3 * s.hidden, s.hidden);
  return {.attention_norm = read.norm(at + "input_layernorm", s.hidden),
          .mlp_norm = read.norm(at + "post_attention_layernorm", s.hidden),
          .query_norm = {},
          .key_norm = {},
          .query = part_of_heads(qkv, 0, s.head_dim),
          .key = part_of_heads(qkv, 1, s.head_dim),
          .value = part_of_heads(qkv, 2, s.head_dim),
          .output = read.linear(at + "attention.dense", s.hidden, s.hidden),
          .gate = {},
          .up = read.linear(at + "mlp.dense_h_to_4h", s.intermediate, s.hidden),
          .down = read.linear(at + "mlp.dense_4h_to_h", s.hidden, s.intermediate)};
}

LayerWeights read_gpt2(Reader& read, const Spec& s, const std::string& at) {
  const Matrix qkv = read.turned_linear(at + "attn.c_attn", 3 * s.hidden, s.hidden);
  return {.attention_norm = read.norm(at + "ln_1", s.hidden),
          .mlp_norm = read.norm(at + "ln_2", s.hidden),
          .query_norm = {},
          .key_norm = {},
          .query = part(qkv, 0, s.hidden),
          .key = part(qkv, s.hidden, s.hidden),
          .value = part(qkv, 2 * s.hidden, s.hidden),
          .output = read.turned_linear(at + "attn.c_proj", s.hidden, s.hidden),
          .gate = {},
          .up = read.turned_linear(at + "mlp.c_fc", s.intermediate, s.hidden),
          .down = read.turned_linear(at + "mlp.c_proj", s.hidden, s.intermediate)};
}

struct Names {
  std::string embedding, layers, final_norm, head;
};

Names names_of(Layout layout) {
  if (layout == Layout::kNeox) return {"gpt_neox.embed_in", "gpt_neox.layers.", "gpt_neox.final_layer_norm", "lm_head"};
  if (layout == Layout::kGpt2) return {"transformer.wte", "transformer.h.", "transformer.ln_f", "lm_head"};
  return {"model.embed_tokens", "model.layers.", "model.norm", "lm_head"};
}

void make_float(at::Tensor& vector) {
  if (vector.defined()) vector = vector.to(at::kFloat);
}

void make_float(Norm& norm) {
  make_float(norm.weight);
  make_float(norm.bias);
}

void make_float(LayerWeights& layer) {
  for (Norm* norm : {&layer.attention_norm, &layer.mlp_norm, &layer.query_norm, &layer.key_norm}) make_float(*norm);
  for (Matrix* matrix : {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down}) {
    make_float(matrix->bias);
  }
}

}  // namespace

at::TensorOptions kind_of(const Tensors& tensors) {
  if (tensors.empty()) throw ModelError("engine: the model has no weights");
  const auto& [name, tensor] = *tensors.begin();
  const at::ScalarType type = tensor.scalar_type();
  std::ostringstream wrong;
  if (!tensor.device().is_cpu() && !tensor.device().is_cuda()) {
    wrong << "is on " << tensor.device() << ", wanted cpu or cuda";
  } else if (type != at::kFloat && type != at::kBFloat16 && type != at::kHalf) {
    wrong << "is " << type << ", wanted Float, BFloat16 or Half";
  }
  if (!wrong.str().empty()) throw ModelError("engine: weight " + name + " " + wrong.str());
  return tensor.options();
}

Weights with_float_vectors(Weights weights) {
  make_float(weights.positions);
  for (LayerWeights& layer : weights.layers) make_float(layer);
  make_float(weights.final_norm);
  make_float(weights.head.bias);
  return weights;
}

Weights read_weights(const Spec& spec, Tensors tensors, const at::TensorOptions& kind) {
  Reader read(std::move(tensors), kind);
  const Names names = names_of(spec.layout);
  Weights weights;
  weights.embedding = read.take(names.embedding + ".weight", {spec.vocab, spec.hidden});
  if (spec.layout == Layout::kGpt2) {
    weights.positions = read.take("transformer.wpe.weight", {spec.context_length, spec.hidden});
  }
  for (std::int64_t i = 0; i < spec.num_layers; ++i) {
    const std::string at = names.layers + std::to_string(i) + ".";
    weights.layers.push_back(spec.layout == Layout::kNeox   ? read_neox(read, spec, at)
                             : spec.layout == Layout::kGpt2 ? read_gpt2(read, spec, at)
                                                            : read_split(read, spec, at));
  }
  weights.final_norm = read.norm(names.final_norm, spec.hidden);
  if (spec.tied_head) {
    weights.head = {.weight = weights.embedding, .bias = {}, .rows = spec.vocab, .columns = spec.hidden};
  } else {
    weights.head = read.linear(names.head, spec.vocab, spec.hidden);
  }
  read.refuse_rest();
  return weights;
}

namespace {

// T5: a block's parts are called layers, attention first and MLP last; norms have no bias.
LayerWeights read_t5_layer(Reader& read, const Spec& s, const std::string& at, const std::string& mlp_part) {
  const std::int64_t q = s.num_heads * s.head_dim;
  const std::string attention = at + "layer.0.SelfAttention.", mlp = at + mlp_part + "DenseReluDense.";
  LayerWeights w;
  w.attention_norm = {read.take(at + "layer.0.layer_norm.weight", {s.hidden}), {}};
  w.query = read.linear(attention + "q", q, s.hidden);
  w.key = read.linear(attention + "k", q, s.hidden);
  w.value = read.linear(attention + "v", q, s.hidden);
  w.output = read.linear(attention + "o", s.hidden, q);
  w.mlp_norm = {read.take(at + mlp_part + "layer_norm.weight", {s.hidden}), {}};
  if (s.gated) w.gate = read.linear(mlp + "wi_0", s.intermediate, s.hidden);
  w.up = read.linear(mlp + (s.gated ? "wi_1" : "wi"), s.intermediate, s.hidden);
  w.down = read.linear(mlp + "wo", s.hidden, s.intermediate);
  return w;
}

CrossWeights read_t5_cross(Reader& read, const Spec& s, const std::string& at) {
  const std::int64_t q = s.num_heads * s.head_dim;
  return {.norm = {read.take(at + "layer_norm.weight", {s.hidden}), {}},
          .query = read.linear(at + "EncDecAttention.q", q, s.hidden),
          .key = read.linear(at + "EncDecAttention.k", q, s.hidden),
          .value = read.linear(at + "EncDecAttention.v", q, s.hidden),
          .output = read.linear(at + "EncDecAttention.o", s.hidden, q)};
}

}  // namespace

EncoderDecoderWeights with_float_vectors(EncoderDecoderWeights weights) {
  weights.decoder = with_float_vectors(std::move(weights.decoder));
  for (LayerWeights& layer : weights.encoder_layers) make_float(layer);
  for (CrossWeights& cross : weights.cross) make_float(cross.norm);
  for (at::Tensor* distances : {&weights.encoder_distances, &weights.decoder_distances}) make_float(*distances);
  make_float(weights.encoder_norm);
  return weights;
}

EncoderDecoderWeights read_encoder_decoder_weights(const EncoderDecoderSpec& spec, Tensors tensors,
                                                   const at::TensorOptions& kind) {
  Reader read(std::move(tensors), kind);
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
  weights.decoder.head = {.weight = weights.decoder.embedding, .bias = {}, .rows = s.vocab, .columns = s.hidden};
  if (read.has("lm_head.weight")) weights.decoder.head = read.linear("lm_head", s.vocab, s.hidden);
  read.refuse_rest();
  return weights;
}

}  // namespace syco
