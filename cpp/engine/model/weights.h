// The tensors of a model, found by name, checked by shape, shared with the caller.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/kernels/ops.h"
#include "engine/model/spec.h"

namespace syco {

struct Norm {
  Weight weight, bias;  // bias may be undefined
};

struct Expert {
  Matrix gate, up, down;
};

struct LayerWeights {
  Norm attention_norm, mlp_norm;          // of what attention and MLP read; undefined where they read it as it is
  Norm attention_out_norm, mlp_out_norm;  // of what they give; undefined where it joins the residual as it is
  Norm query_norm, key_norm;              // undefined without qk_norm
  Matrix query, key, value, output;
  Matrix gate, up, down;  // gate is empty if not gated; all are if there are experts
  Matrix router;
  std::vector<Expert> experts;
};

struct Weights {
  Weight embedding, positions;  // positions: learned ones, or undefined
  std::vector<LayerWeights> layers;
  Norm final_norm;
  Matrix head;
};

// An adapter of a linear layer, all float32: what it adds is up (down x).
struct AdapterWeights {
  Weight down, up;     // (rank, columns), (rows, rank)
  Weight row_factors;  // (rows): of the sum, as DoRA has them; undefined where they are 1
};
using Adapters = std::map<std::string, AdapterWeights>;  // by the layer's name

// The weights of `spec`, which are named as in the transformers model, with adapters on linear layers of its blocks.
// Throws ModelError if one is missing, left over, of another shape, or of another number type than the first.
Weights read_weights(const Spec& spec, std::map<std::string, Weight> named, Adapters adapters = {});

// The same weights, with norms, biases and positions in float32: copies of these few where they are not.
Weights with_float_vectors(Weights weights);

struct CrossWeights {
  Norm norm;
  Matrix query, key, value, output;
};

struct EncoderDecoderWeights {
  Weights decoder;  // its embedding is the encoder's too
  std::vector<CrossWeights> cross;
  std::vector<LayerWeights> encoder_layers;
  Norm encoder_norm;
  Weight encoder_distances, decoder_distances;  // (buckets, heads): what is added to an attention score
};

// As read_weights; the head is the embedding if there is none of its own.
EncoderDecoderWeights read_encoder_decoder_weights(const EncoderDecoderSpec& spec, std::map<std::string, Weight> named);
// As with_float_vectors, of both parts.
EncoderDecoderWeights with_float_vectors(EncoderDecoderWeights weights);

}  // namespace syco
