// The MLP of layers in which a router chooses some of many experts for each token.
//
// Tokens are gathered by expert into panels of their own, so that a weight is read once a chunk. A token's numbers
// depend on that token alone: in whichever column it stands, products run the same operations, and what its experts
// give is added in the order of the experts.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/panels/layers.h"

namespace syco {

class ExpertMlp {
 public:
  ExpertMlp() = default;
  // Makes room for chunks of up to `max_panels`.
  ExpertMlp(const Team& team, const Spec& spec, MatmulPrecision precision, std::int64_t max_panels);

  // Adds to `residual` what the layer's experts make of the first `rows` columns of `from`, panels (P, hidden, 64)
  // both. `tick` is called between steps and may throw.
  void run(const LayerWeights& layer, const Workspace& from, std::int64_t rows, const Workspace& residual,
           const std::function<void()>& tick);

 private:
  // A token at one of its experts: a column of the panels of that expert.
  struct Seat {
    std::int64_t expert, column;
    float weight;
  };
  struct Group {
    std::int64_t first_panel, num_panels;
    std::vector<std::int64_t> rows;  // of the chunk, in order
  };
  // What one thread works with at a time.
  struct Scratch {
    float *first_factor, *second_factor;  // blocks of weights, the router's too, as left factors
    float* on_its_way;                    // a block of 16 bits in float32, before it is a factor
    float *first_tile, *second_tile;      // (64, 64)
    float* logits;                        // (experts, 64), of a panel, in whole blocks
    float *panel, *packed;                // (hidden, 64), of an expert's tokens; the router's input, packed
  };
  Scratch scratch_of_this_thread() const;
  void route(const LayerWeights& layer, const Workspace& from, std::int64_t rows);
  void choose(const float* logits, std::int64_t column, Seat* seats) const;
  void seat(std::int64_t rows);
  void gather(const Workspace& from, const Group& group, std::int64_t panel) const;
  void run_up(const Expert& expert, const Group& group, std::int64_t block) const;
  void run_down(const Expert& expert, const Group& group, std::int64_t block) const;
  void mix(std::int64_t rows, std::int64_t panel, const Workspace& residual) const;

  const Team* team_ = nullptr;
  Spec spec_;
  MatmulPrecision precision_ = MatmulPrecision::kHighest;
  std::int64_t factor_size_ = 0;            // floats of the largest left factor
  std::vector<Seat> seats_;                 // (rows, chosen), by expert
  std::vector<Group> groups_;               // of each expert
  Workspace packed_in_, packed_mid_, out_;  // of the experts' panels
  Workspace scratch_;                       // (threads, floats)
};

}  // namespace syco
