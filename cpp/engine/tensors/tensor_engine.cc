#include "engine/tensors/tensor_engine.h"

#include <c10/core/DeviceGuard.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <string>

#include "core/base/errors.h"
#include "engine/tensors/memory_backoff.h"
#include "engine/tensors/tensor_decoder.h"
#include "engine/tensors/tensor_head.h"

namespace syco {
namespace {

constexpr std::int64_t kMostChunkRows = std::int64_t{1} << 16, kRowsOnCpu = 1024, kRowsElsewhere = 8192;

bool finds_flash(const Spec& spec, const Weights& weights, at::Device device) {
  if (spec.attention_cap > 0) return false;
  const c10::InferenceMode inference;
  const c10::DeviceGuard guard(device);
  return has_flash_attention(spec.num_heads, spec.num_kv_heads, spec.head_dim,
                             tensor_of(weights.embedding, device).options());
}

}  // namespace

TensorEngine::TensorEngine(const std::string& config_json, const std::map<std::string, at::Tensor>& tensors)
    : spec_(read_spec(config_json)),
      weights_(read_weights(spec_, weights_of(tensors))),
      device_(tensors.begin()->second.device()),
      uses_flash_(finds_flash(spec_, weights_, device_)) {}

ScoreResult TensorEngine::score(const Sequences& sequences, const TensorScoreOptions& options,
                                const std::function<void(std::int64_t, std::int64_t)>& tick) const {
  const c10::InferenceMode inference;
  const c10::DeviceGuard guard(device_);
  require(options.chunk_rows >= 0 && options.chunk_rows <= kMostChunkRows,
          "engine: chunk_rows must be 0 (" + std::to_string(kRowsOnCpu) + " on the CPU, " +
              std::to_string(kRowsElsewhere) + " elsewhere) to " + std::to_string(kMostChunkRows) + ", got " +
              std::to_string(options.chunk_rows));
  const Plan plan = plan_job(sequences, spec_);
  const std::int64_t usual = device_.is_cpu() ? kRowsOnCpu : kRowsElsewhere;
  return run_within_memory(options.chunk_rows > 0 ? options.chunk_rows : usual,
                           [&](std::int64_t rows) { return run(sequences, plan, rows, tick); });
}

ScoreResult TensorEngine::run(const Sequences& sequences, const Plan& plan, std::int64_t chunk_rows,
                              const std::function<void(std::int64_t, std::int64_t)>& tick) const {
  ScoreResult result = empty_result(sequences, plan.num_tokens());
  TensorDecoder decoder(spec_, weights_, device_, uses_flash_);
  decoder.begin(plan, chunk_rows);
  auto target = plan.targets.begin();
  for (std::int64_t row = 0; row < plan.num_tokens();) {
    const at::Tensor hidden = decoder.run(row, [&] { tick(row, plan.num_tokens()); });
    const std::int64_t first_row = std::exchange(row, std::min(row + chunk_rows, plan.num_tokens()));
    const auto end = std::find_if(target, plan.targets.end(), [&](const Target& t) { return t.row >= row; });
    add_log_probs(spec_, weights_, hidden, first_row, {target, end}, result);
    target = end;
    tick(row, plan.num_tokens());
  }
  return result;
}

}  // namespace syco
