// The engines of 64-column panels, on weights in float32, bfloat16 or float16 on the CPU: token sequences ->
// log-probabilities.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "core/base/threads.h"
#include "engine/job.h"
#include "engine/model/weights.h"

namespace syco {

struct PanelScoreOptions {
  MatmulPrecision precision = MatmulPrecision::kHighest;
  std::int64_t panels_per_thread = 24;  // at most, of 64 tokens, run together; never a matter of the result
  int num_threads = 0;                  // 0: as thread_count() says; never more than are usable
};

// A decoder model on the caller's weights, which every job reads again.
class PanelEngine {
 public:
  // Throws ModelError naming what of the config, the weights or the adapters it does not know.
  PanelEngine(const std::string& config_json, const std::map<std::string, Weight>& weights,
              const Adapters& adapters = {});

  // Calls tick(tokens done, tokens in all) from the calling thread, at least after every step of a layer; it may throw.
  ScoreResult score(const Sequences& sequences, const PanelScoreOptions& options,
                    const std::function<void(std::int64_t, std::int64_t)>& tick) const;
  // The same on the threads of a team.
  ScoreResult score(const Team& team, const Sequences& sequences, const PanelScoreOptions& options,
                    const std::function<void(std::int64_t, std::int64_t)>& tick) const;

  const Spec& spec() const { return spec_; }

 private:
  Spec spec_;
  Weights weights_;
};

// The same for an encoder-decoder: the context of a sequence goes to the encoder, its scored tokens to the decoder,
// after the model's start token.
class PanelEncoderDecoderEngine {
 public:
  PanelEncoderDecoderEngine(const std::string& config_json, const std::map<std::string, Weight>& weights);

  ScoreResult score(const Sequences& sequences, const PanelScoreOptions& options,
                    const std::function<void(std::int64_t, std::int64_t)>& tick) const;
  ScoreResult score(const Team& team, const Sequences& sequences, const PanelScoreOptions& options,
                    const std::function<void(std::int64_t, std::int64_t)>& tick) const;

 private:
  EncoderDecoderSpec spec_;
  EncoderDecoderWeights weights_;
};

}  // namespace syco
