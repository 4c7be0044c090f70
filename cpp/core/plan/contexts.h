// Token sequences of an encoder-decoder -> what its encoder reads, each once, and what its decoder runs after each.
#pragma once

#include <cstdint>

#include "core/plan/trie.h"

namespace syco {

// Something that the encoder reads.
struct Context {
  std::span<const std::int32_t> tokens;
  std::vector<std::int32_t> sequences;  // those that it is the context of
};

// The contexts of the sequences, each once, in lexicographic order. They refer to the tokens of `sequences`.
// Throws as check_sequences does.
std::vector<Context> distinct_contexts(const Sequences& sequences);

// The contexts cut into pieces, in order, each of at most `max_tokens` tokens together or one context.
std::vector<std::span<const Context>> cut_contexts(std::span<const Context> contexts, std::int64_t max_tokens);

std::int64_t count_tokens(std::span<const Context> contexts);

// What the decoder runs after some contexts: one tree after the other.
struct DecoderPlan {
  Plan plan;
  std::vector<std::int64_t> first_rows;  // of each context's tree, and the end: (contexts + 1)
};

// Each tree begins with `start_token`, which predicts the first of the scored tokens.
DecoderPlan make_decoder_plan(const Sequences& sequences, std::span<const Context> contexts, std::int32_t start_token);

}  // namespace syco
