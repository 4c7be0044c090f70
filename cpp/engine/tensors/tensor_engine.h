// The engine of decoder models on torch's own operators: what scores them on CUDA.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "engine/job.h"
#include "engine/model/weights.h"
#include "engine/tensors/tensors.h"

namespace syco {

struct TensorScoreOptions {
  std::int64_t chunk_rows = 0;  // tokens that are run together, up to 65536; 0: 1024 on the CPU, 8192 elsewhere
};

// A decoder model on the caller's weights, which lie on one device, in float32, bfloat16 or float16. Scores do not
// depend on the other sequences of a job beyond rounding.
class TensorEngine {
 public:
  // Throws ModelError naming what of the config or the weights it does not know.
  TensorEngine(const std::string& config_json, const std::map<std::string, at::Tensor>& tensors);

  // As PanelEngine::score. Where the device's memory does not hold a chunk, the job starts again with chunks half as
  // large.
  ScoreResult score(const Sequences& sequences, const TensorScoreOptions& options,
                    const std::function<void(std::int64_t, std::int64_t)>& tick) const;

  bool uses_flash_attention() const { return uses_flash_; }

 private:
  ScoreResult run(const Sequences& sequences, const Plan& plan, std::int64_t chunk_rows,
                  const std::function<void(std::int64_t, std::int64_t)>& tick) const;

  Spec spec_;
  Weights weights_;
  at::Device device_;
  bool uses_flash_;
};

}  // namespace syco
