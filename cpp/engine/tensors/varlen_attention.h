// Attention of ragged sequences, causal from their ends: the queries of a sequence are the last of its keys.
//
// Queries (rows, heads, head_dim), keys and values (all keys, kv heads, head_dim) lie one sequence after the other, on
// any device, in float32, bfloat16 or float16; so does the result, (rows, heads, head_dim).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace syco {

struct Lengths {
  std::vector<std::int32_t> queries, keys;       // (sequences + 1) where each sequence begins, and the end
  at::Tensor queries_on_device, keys_on_device;  // the same, int32
  std::int64_t max_queries = 0, max_keys = 0;    // of a sequence
};

Lengths make_lengths(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys, at::Device device);

struct AttentionOptions {
  double scale = 1;         // of query times key
  std::int64_t window = 0;  // keys that a query sees, its own included; 0: all
  double cap = 0;           // scores s become cap * tanh(s / cap); 0: they stay
};

// Sequence by sequence in float32: on every device and for every size.
at::Tensor plain_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const Lengths& lengths, const AttentionOptions& options);

// The same by torch's flash attention, which is there for bfloat16 and float16 on CUDA, and caps nothing.
at::Tensor flash_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const Lengths& lengths, const AttentionOptions& options);

// Whether flash attention runs with these sizes, on that device and in that type, and says what plain attention says:
// found by trial on two short sequences.
bool has_flash_attention(std::int64_t num_heads, std::int64_t num_kv_heads, std::int64_t head_dim,
                         const at::TensorOptions& options);

}  // namespace syco
