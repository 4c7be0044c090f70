// One forward for all decoder families, by the flags of a Spec, on plain tensors: on any device, with weights in
// float32, bfloat16 or float16.
//
// The residual stream, norms, rotations and the softmax are float32; what enters a matrix product or attention is
// rounded to the weights' type. So is what enters a router, and its logits: which experts a token goes to can differ
// between number types. What its experts give is added in float32.
#pragma once

#include <cstdint>
#include <functional>

#include "core/plan/trie.h"
#include "engine/tensors/tensor_layers.h"
#include "engine/tensors/varlen_attention.h"

namespace syco {

// Runs chunks of a plan in order, all of the same number of rows: shapes are few, and a row's result does not depend on
// how many others there are. Experts are the exception: the products of one have as many rows as tokens of the chunk
// chose it. Keys and values of the chain that leads into the next chunk are kept, by depth.
class TensorDecoder {
 public:
  // On weights that are on `device`.
  TensorDecoder(const Spec& spec, const Weights& weights, at::Device device, bool uses_flash)
      : spec_(spec), weights_(weights), embedding_(tensor_of(weights.embedding, device)), uses_flash_(uses_flash) {}

  // Makes room for chunks of `rows` of `plan`; before its first chunk.
  void begin(const Plan& plan, std::int64_t rows);

  // Hidden states (rows, hidden), before the final norm, of the chunk that begins with `first_row`. Rows past the
  // plan's end hold no meaning. `tick` is called between steps and may throw.
  at::Tensor run(std::int64_t first_row, const std::function<void()>& tick);

 private:
  void enter(std::int64_t first_row);
  at::Tensor embed() const;
  at::Tensor attend(std::int64_t layer, const at::Tensor& x);
  at::Tensor prepare_heads(const Norm& norm, const at::Tensor& projected, std::int64_t num_heads,
                           std::int64_t layer) const;
  at::Tensor keys_of_branches(const at::Tensor& chain, const at::Tensor& own) const;
  void keep_chain(std::int64_t layer, const at::Tensor& key, const at::Tensor& value);
  void join(at::Tensor& residual, const at::Tensor& product, const Norm& norm) const;

  at::TensorOptions options() const { return embedding_.options(); }
  at::Tensor indices(const std::vector<std::int64_t>& values) const;

  const Spec& spec_;
  const Weights& weights_;
  at::Tensor embedding_;
  bool uses_flash_;
  const Plan* plan_ = nullptr;
  std::int64_t rows_ = 0;  // of a chunk

  std::vector<at::Tensor> cosines_, sines_;  // (depth, pairs) float32, of each of the spec's rotations
  at::Tensor chain_keys_, chain_values_;     // (layers, depth, kv heads, head_dim)

  // Of the chunk that is run.
  std::int64_t first_row_ = 0, num_rows_ = 0;  // of the plan
  at::Tensor tokens_, depths_;                 // (rows)
  std::int64_t num_before_ = 0;                // rows of the chain that leads into it
  at::Tensor keys_;                            // of its branches, as places in that chain and, behind it, in the chunk
  Lengths lengths_;
  at::Tensor kept_rows_, kept_depths_;  // of the chain of the next chunk's first row, as far as it lies in this one
};

}  // namespace syco
