// What a model computes, as flags read from its transformers config.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace syco {

enum class NormKind { kRms, kRmsPlusOne, kLayer };  // kRmsPlusOne: the weight is stored less 1 (Gemma)
// Of attention and MLP: what they read, what they give before it joins the residual (OLMo2), or both (Gemma 2).
enum class NormPlace { kBefore, kAfter, kAround };
enum class QkNorm { kNone, kHead, kWhole };  // over each head (Qwen3), or over all heads at once (OLMo2)
enum class Activation { kSilu, kGelu, kGeluTanh, kRelu };

// How a family names and stores its weights.
enum class Layout { kSplit, kNeox, kGpt2, kOpt, kFalcon };

// How positions turn the pairs of a head's features; the features after them stay.
struct Rotation {
  std::vector<float> frequencies;  // radians a position, of each pair; empty: nothing turns
  float scale = 1;                 // of what is turned (YaRN)
  bool neighbours = false;         // a pair is features 2 i and 2 i + 1, not i and i + pairs

  bool operator==(const Rotation&) const = default;
};

// MLPs of which a router chooses some for each token.
struct Experts {
  std::int64_t count = 0, chosen = 0, intermediate = 0;
  bool normalized = true;                 // the weights of the chosen ones sum to 1
  std::vector<std::uint8_t> layers = {};  // 1 for each that has experts in place of one MLP; empty: none has

  bool in(std::int64_t layer) const { return !layers.empty() && layers[layer] != 0; }
  bool operator==(const Experts&) const = default;
};

struct Spec {
  std::string family;  // model_type of the config
  Layout layout = Layout::kSplit;
  std::int64_t num_layers = 0, hidden = 0, intermediate = 0, vocab = 0;
  std::int64_t num_heads = 0, num_kv_heads = 0, head_dim = 0;
  std::int64_t context_length = 0;
  NormKind norm = NormKind::kRms;
  NormPlace norm_place = NormPlace::kBefore;
  QkNorm qk_norm = QkNorm::kNone;
  float norm_epsilon = 0;
  Activation activation = Activation::kSilu;
  bool gated = true;               // act(gate) * up, or act(up)
  bool parallel_residual = false;  // attention and MLP both read the layer's input (GPT-NeoX)
  bool tied_head = false;
  float embedding_scale = 1, head_scale = 1;  // of what the first layer and the output layer read
  float residual_scale = 1;                   // of what joins the residual (Granite)
  float attention_scale = 1;                  // of query times key
  float attention_cap = 0, logit_cap = 0;     // scores and logits x become cap * tanh(x / cap); 0: they stay
  Experts experts = {};
  std::vector<Rotation> rotations = {};
  std::vector<std::int64_t> layer_rotations = {};  // of each layer its place in `rotations`
  std::vector<std::int64_t> windows = {};  // of each layer: positions that a token sees, itself included; 0: all

  bool operator==(const Spec&) const = default;
};

// Reads the config of a model as transformers writes it. Throws ModelError naming the first key or value that the
// engine does not know: a model is run exactly or not at all.
Spec read_spec(const std::string& config_json);

// T5: an encoder that sees a whole context, and a decoder that also attends to the encoder's output. Neither scales its
// attention scores; both add a bias to them that depends on the head and on how far the key is from the query.
struct EncoderDecoderSpec {
  Spec decoder;  // the encoder is alike but for the number of its layers
  std::int64_t num_encoder_layers = 0;
  std::int64_t num_buckets = 0, max_distance = 0;  // of distances
  std::int32_t start_token = 0;                    // before the first token of the decoder

  bool operator==(const EncoderDecoderSpec&) const = default;
};

// As read_spec.
EncoderDecoderSpec read_encoder_decoder_spec(const std::string& config_json);

}  // namespace syco
