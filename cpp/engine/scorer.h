// Token sequences -> log-probabilities.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/decoder.h"

namespace syco {

struct ScoreOptions {
  MatmulPrecision precision = MatmulPrecision::highest;
  int64_t panels_per_thread = 24;  // at most, of 64 tokens, run together; never a matter of the result
};

struct ScoreResult {
  std::vector<double> log_probs;   // of each sequence's scored tokens, summed, in nats
  std::vector<uint8_t> is_greedy;  // 1 where no token is likelier than any of the sequence's scored tokens
  int64_t num_tokens = 0;          // that were run
};

// Lays out a job for a decoder. Throws DataError as make_plan does, or if a token is not in the vocabulary or a
// sequence exceeds the context.
Plan plan_job(const Sequences& sequences, const Spec& spec);
// What the log-probabilities of a job are added to.
ScoreResult nothing_scored(const Sequences& sequences, int64_t num_tokens);

// A decoder model on the caller's weights, which are read anew by every job.
class Engine {
 public:
  // Throws ModelError naming what of the config or the weights it does not know.
  Engine(const std::string& config_json, std::map<std::string, at::Tensor> tensors);

  // Calls tick(tokens done, tokens in all) from the calling thread, at least after every step of a layer; it may throw.
  ScoreResult score(const Sequences& sequences, const ScoreOptions& options,
                    const std::function<void(int64_t, int64_t)>& tick) const;

  const Spec& spec() const { return spec_; }

 private:
  Spec spec_;
  Weights weights_;
};

// The same for an encoder-decoder: the context of a sequence goes to the encoder, its scored tokens to the decoder,
// after the model's start token.
class EncoderDecoderEngine {
 public:
  EncoderDecoderEngine(const std::string& config_json, std::map<std::string, at::Tensor> tensors);

  ScoreResult score(const Sequences& sequences, const ScoreOptions& options,
                    const std::function<void(int64_t, int64_t)>& tick) const;

 private:
  EncoderDecoderSpec spec_;
  EncoderDecoderWeights weights_;
};

}  // namespace syco
