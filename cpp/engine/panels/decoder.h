// One forward for all decoder families, by the flags of a Spec.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/panels/expert_mlp.h"
#include "engine/panels/layers.h"

namespace syco {

// A piece of a plan: whole panels, run through all layers together.
struct Chunk {
  std::int64_t first_row = 0;
  std::vector<Panel> panels;
  std::int64_t num_panels() const { return static_cast<std::int64_t>(panels.size()); }
};

// The angles of a rotation.
struct Turns {
  std::int64_t pairs;
  Workspace cosines, sines;  // (depth, pairs)
  Workspace cosine, sine;    // (P, pairs, 64), of the chunk's rows
};

// Runs chunks of a plan in order. Keys and values of the chain that leads into the next chunk are kept, by depth, so
// that no token is run twice wherever the cuts fall.
class Decoder {
 public:
  Decoder(const Team& team, const Spec& spec, const Weights& weights, MatmulPrecision precision)
      : team_(team), spec_(spec), weights_(weights), precision_(precision) {}

  // Makes room for chunks of up to `max_panels` of `plan`; before its first chunk.
  void begin(const Plan& plan, std::int64_t max_panels);

  // Runs a chunk; `tick` is called between steps from the calling thread and may throw.
  void run(const Chunk& chunk, const std::function<void()>& tick);

  // Copies the hidden state of a row of the last chunk, before the final norm, into one column of a panel.
  void copy_hidden(std::int64_t row, float* column) const;

 private:
  Share share(std::int64_t begin, std::int64_t end) const {
    return {precision_, factors_, scratches_.of_this_thread(), begin, end};
  }
  void embed(std::int64_t panel);
  void read_inputs(std::int64_t layer, std::int64_t begin, std::int64_t end);
  void attend(std::int64_t layer, std::int64_t panel, std::int64_t kv_head);
  void gather(std::int64_t layer, std::int64_t panel, std::int64_t kv_head, const Block& keys, const Block& values);
  void keep_chain(std::int64_t layer);
  void finish_layer(std::int64_t layer, std::int64_t begin, std::int64_t end);
  void run_experts(std::int64_t layer, const std::function<void()>& tick);

  void make_turns(std::int64_t depth, std::int64_t max_panels);
  void prepare_heads(const Norm& norm, float* heads, std::int64_t num_heads, std::int64_t layer, std::int64_t panel,
                     const Scratch& scratch);
  void turn(float* head, std::int64_t layer, std::int64_t panel) const;
  void normalize_into(const Norm& norm, std::int64_t panel, const Scratch& scratch);
  void join(const Share& share, const Matrix& matrix, const Norm& norm);

  static float* chain_of(const Workspace& chains, std::int64_t layer, std::int64_t kv_head) {
    return chains.data() + layer * chains.stride(0) + kv_head * chains.stride(1);
  }
  std::int64_t group() const { return spec_.num_heads / spec_.num_kv_heads; }

  const Team& team_;
  const Spec& spec_;
  const Weights& weights_;
  MatmulPrecision precision_;
  const Plan* plan_ = nullptr;
  const Chunk* chunk_ = nullptr;

  // The workspace, allocated once a job; P panels of (features, 64).
  Workspace residual_;                // (P, hidden, 64)
  Workspace packed_in_, packed_mid_;  // (P, packed)
  Workspace query_, key_, value_;     // (P, features, 64)
  Workspace key_rows_;                // (kv heads, P * 64, head_dim)
  Workspace joined_;                  // (P, hidden, 64): what joins the residual, or what experts read
  std::vector<Turns> turns_;          // of each of the spec's rotations
  Workspace chain_keys_;              // (layers, kv heads, depth, head_dim)
  Workspace chain_values_;            // (layers, kv heads, head_dim, depth)
  Factors factors_;
  Scratches scratches_;
  ExpertMlp experts_;
};

}  // namespace syco
