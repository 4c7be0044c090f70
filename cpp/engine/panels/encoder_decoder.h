// One forward for encoder-decoder models: contexts through the encoder, each once, then the trees of the decoder.
#pragma once

#include <cstdint>
#include <functional>

#include "core/plan/contexts.h"
#include "engine/panels/layers.h"

namespace syco {

// Contexts whose encoder output is kept at once, and what the decoder runs after them.
struct ContextBatch {
  std::span<const Context> contexts;
  DecoderPlan decoder;
};

// Keys and values of panels, all heads.
struct KeysValues {
  Workspace key, value;  // (P, heads * head_dim, 64)
  Workspace key_rows;    // (heads, P * 64, head_dim)
};

// Rows that follow each other.
struct Rows {
  std::int64_t first, count;
};

// The rows of the encoder or of the decoder, in panels.
struct Stack {
  std::int64_t num_panels = 0;      // in use
  Workspace residual;               // (P, hidden, 64)
  Workspace packed_in, packed_mid;  // (P, packed)
  Workspace query, attended;        // (P, heads * head_dim, 64)
  KeysValues own;
};

// Runs batches in order. A context's rows attend to that context alone, which always stands at the same columns of what
// attention reads, so that a context's numbers never depend on its company.
class EncoderDecoder {
 public:
  EncoderDecoder(const Team& team, const EncoderDecoderSpec& spec, const EncoderDecoderWeights& weights,
                 MatmulPrecision precision)
      : team_(team), spec_(spec), weights_(weights), precision_(precision) {}

  // Makes room for any of `batches`, whose contexts are encoded in pieces of up to `max_tokens` or one.
  void begin(std::span<const ContextBatch> batches, std::int64_t max_tokens);

  // Runs a batch; `tick` is called with its rows done, between steps from the calling thread, and may throw.
  void run(const ContextBatch& batch, const std::function<void(std::int64_t)>& tick);

  // Copies the hidden state of a row of the last batch's decoder, before the final norm, into one column of a panel.
  void copy_hidden(std::int64_t row, float* column) const;

 private:
  Stack make_stack(std::int64_t panels) const;
  KeysValues make_keys_values(std::int64_t panels) const;
  template <typename Step>
  void each_share(std::int64_t panels, const Step& step) const;

  void embed(Stack& stack, std::span<const std::int32_t> tokens) const;
  void encode(std::span<const Context> contexts, std::int64_t first_panel, const std::function<void()>& tick);
  void decode(const DecoderPlan& decoder, const std::function<void()>& tick);
  void remember(const CrossWeights& cross);

  void normalize_into(const Share& share, const Norm& norm, const Stack& stack) const;
  void read(const Share& share, const LayerWeights& layer, const Stack& stack) const;
  void join_attended(const Share& share, const Matrix& output, const Stack& stack) const;
  void join_mlp(const Share& share, const LayerWeights& layer, const Stack& stack) const;
  void attend_tree(const Panel& panel, std::int64_t index, std::int64_t head) const;
  void attend_context(const KeysValues& from, Rows keys, const Stack& stack, Rows queries, std::int64_t head,
                      const float* distances) const;

  const Spec& sizes() const { return spec_.decoder; }

  const Team& team_;
  const EncoderDecoderSpec& spec_;
  const EncoderDecoderWeights& weights_;
  MatmulPrecision precision_;
  std::int64_t max_tokens_ = 0;

  // The workspace, allocated once a job.
  Stack encoder_, decoder_;
  Workspace memory_;                                 // (P, packed): the encoder's output for a batch
  KeysValues remembered_;                            // of the memory, for one layer of the decoder
  std::vector<Rows> places_;                         // of each context in the memory
  std::int64_t memory_panels_ = 0;                   // in use
  Workspace encoder_distances_, decoder_distances_;  // (heads, 2 * reach): by query - key + reach
  Factors factors_;
  Scratches scratches_;
};

}  // namespace syco
