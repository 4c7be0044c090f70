#include "engine/tensors/varlen_attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace syco {
namespace {

constexpr std::int64_t kQueriesTogether = 256;  // that plain attention has scores of at a time

// Number of sequences from `first` on that are as long as it, up to as many as are run together.
std::int64_t count_alike(const Lengths& lengths, std::int64_t first) {
  const auto size = [](const std::vector<std::int32_t>& begins, std::int64_t i) { return begins[i + 1] - begins[i]; };
  const auto total = static_cast<std::int64_t>(lengths.queries.size()) - 1;
  const std::int64_t end =
      std::min(total, first + std::max<std::int64_t>(kQueriesTogether / size(lengths.queries, first), 1));
  std::int64_t next = first + 1;
  while (next < end && size(lengths.queries, next) == size(lengths.queries, first) &&
         size(lengths.keys, next) == size(lengths.keys, first)) {
    ++next;
  }
  return next - first;
}

// (Q, K) true where the query, one of the last Q of K positions, does not see the key.
at::Tensor hidden_keys(std::int64_t num_queries, std::int64_t num_keys, std::int64_t window, at::Device device) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const at::Tensor ahead =
      at::arange(num_keys, options).unsqueeze(0) - at::arange(num_keys - num_queries, num_keys, options).unsqueeze(1);
  return window > 0 ? ahead.gt(0).logical_or(ahead.le(-window)) : ahead.gt(0);
}

// Sequences of one length: query (B, Q, heads, dim), key and value (B, K, kv heads, dim), of which a query sees at most
// the last of the queries; all float32.
at::Tensor attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                  const AttentionOptions& options) {
  const std::int64_t count = query.size(0), rows = query.size(1), heads = query.size(2), dim = query.size(3);
  const std::int64_t keys = key.size(1), kv_heads = key.size(2), group = heads / kv_heads;
  const at::Tensor q = query.view({count, rows, kv_heads, group, dim}).permute({0, 2, 3, 1, 4});
  const at::Tensor k = key.permute({0, 2, 3, 1}).reshape({count * kv_heads, dim, keys});
  const at::Tensor v = value.permute({0, 2, 1, 3}).reshape({count * kv_heads, keys, dim});
  at::Tensor scores = at::bmm(q.reshape({count * kv_heads, group * rows, dim}), k).mul_(options.scale);
  if (options.cap > 0) scores.div_(options.cap).tanh_().mul_(options.cap);
  if (rows > 1 || options.window > 0) {
    scores.view({-1, rows, keys})
        .masked_fill_(hidden_keys(rows, keys, options.window, scores.device()),
                      -std::numeric_limits<float>::infinity());
  }
  const at::Tensor mixed = at::bmm(at::softmax(scores, -1), v).view({count, kv_heads, group, rows, dim});
  return mixed.permute({0, 3, 1, 2, 4}).reshape({count, rows, heads, dim});
}

}  // namespace

Lengths make_lengths(std::vector<std::int32_t> queries, std::vector<std::int32_t> keys, at::Device device) {
  const auto options = at::TensorOptions(at::kInt).device(device);
  Lengths lengths{
      .queries = std::move(queries), .keys = std::move(keys), .queries_on_device = {}, .keys_on_device = {}};
  lengths.queries_on_device = at::tensor(at::ArrayRef<std::int32_t>(lengths.queries), options);
  lengths.keys_on_device = at::tensor(at::ArrayRef<std::int32_t>(lengths.keys), options);
  for (std::size_t i = 1; i < lengths.keys.size(); ++i) {
    lengths.max_queries = std::max<std::int64_t>(lengths.max_queries, lengths.queries[i] - lengths.queries[i - 1]);
    lengths.max_keys = std::max<std::int64_t>(lengths.max_keys, lengths.keys[i] - lengths.keys[i - 1]);
  }
  return lengths;
}

at::Tensor plain_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const Lengths& lengths, const AttentionOptions& options) {
  at::Tensor result = at::empty_like(query);
  for (std::int64_t s = 0; s < static_cast<std::int64_t>(lengths.queries.size()) - 1;) {
    const std::int64_t count = count_alike(lengths, s);
    // (count, length, heads, dim)
    const auto part = [&](const at::Tensor& all, const std::vector<std::int32_t>& begins) {
      return all.narrow(0, begins[s], begins[s + count] - begins[s]).unflatten(0, {count, begins[s + 1] - begins[s]});
    };
    const at::Tensor q = part(query, lengths.queries).to(at::kFloat), out = part(result, lengths.queries);
    const at::Tensor k = part(key, lengths.keys).to(at::kFloat), v = part(value, lengths.keys).to(at::kFloat);
    for (std::int64_t row = 0; row < q.size(1); row += kQueriesTogether) {
      const std::int64_t rows = std::min(kQueriesTogether, q.size(1) - row), seen = k.size(1) - q.size(1) + row + rows;
      out.narrow(1, row, rows)
          .copy_(attend(q.narrow(1, row, rows), k.narrow(1, 0, seen), v.narrow(1, 0, seen), options));
    }
    s += count;
  }
  return result;
}

at::Tensor flash_attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const Lengths& lengths, const AttentionOptions& options) {
  const auto left = options.window > 0 ? std::optional<std::int64_t>(options.window - 1) : std::nullopt;
  const auto right = options.window > 0 ? std::optional<std::int64_t>(0) : std::nullopt;
  // Never 1: for single queries there is another kernel, and with it another rounding.
  const std::int64_t max_queries = std::max<std::int64_t>(lengths.max_queries, 2);
  return std::get<0>(at::_flash_attention_forward(query, key, value, lengths.queries_on_device, lengths.keys_on_device,
                                                  max_queries, lengths.max_keys, /*dropout_p=*/0, /*is_causal=*/true,
                                                  /*return_debug_mask=*/false, options.scale, left, right));
}

bool has_flash_attention(std::int64_t num_heads, std::int64_t num_kv_heads, std::int64_t head_dim,
                         const at::TensorOptions& options) {
  const Lengths lengths = make_lengths({0, 1, 4}, {0, 4, 9}, options.device());
  const auto waves = [&](std::int64_t rows, std::int64_t heads) {
    const at::Tensor angles = at::arange(rows * heads * head_dim, options.dtype(at::kFloat));
    return angles.sin().view({rows, heads, head_dim}).to(options.dtype().toScalarType());
  };
  const at::Tensor query = waves(4, num_heads), key = waves(9, num_kv_heads), value = key.neg();
  try {
    for (const AttentionOptions& one : {AttentionOptions{}, AttentionOptions{.window = 2}}) {
      const at::Tensor off = flash_attention(query, key, value, lengths, one).to(at::kFloat) -
                             plain_attention(query, key, value, lengths, one).to(at::kFloat);
      if (!(off.abs().max().item<float>() < 0.05F)) return false;
    }
  } catch (const c10::Error&) {
    return false;
  }
  return true;
}

}  // namespace syco
