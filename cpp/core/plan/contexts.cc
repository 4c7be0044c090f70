#include "core/plan/contexts.h"

#include <algorithm>
#include <numeric>

namespace syco {
namespace {

std::span<const std::int32_t> context_of(const Sequences& s, std::int32_t i) {
  return s.tokens.subspan(s.offsets[i], s.num_context[i]);
}

std::span<const std::int32_t> scored_of(const Sequences& s, std::int32_t i) {
  return s.tokens.subspan(s.offsets[i] + s.num_context[i], s.offsets[i + 1] - s.offsets[i] - s.num_context[i]);
}

// The tree of one context; its targets know the sequences of the job.
Plan make_tree(const Sequences& sequences, const Context& context, std::int32_t start_token) {
  std::vector<std::int32_t> tokens;
  std::vector<std::int64_t> offsets = {0};
  for (const std::int32_t i : context.sequences) {
    const auto scored = scored_of(sequences, i);
    tokens.push_back(start_token);
    tokens.insert(tokens.end(), scored.begin(), scored.end());
    offsets.push_back(static_cast<std::int64_t>(tokens.size()));
  }
  const std::vector<std::int32_t> num_context(context.sequences.size(), 1);
  Plan tree = make_plan({tokens, offsets, num_context});
  for (Target& target : tree.targets) target.sequence = context.sequences[target.sequence];
  return tree;
}

void append(const Plan& tree, Plan& plan) {
  const std::int64_t first = plan.num_tokens();
  plan.tokens.insert(plan.tokens.end(), tree.tokens.begin(), tree.tokens.end());
  plan.depths.insert(plan.depths.end(), tree.depths.begin(), tree.depths.end());
  for (const std::int64_t parent : tree.parents) plan.parents.push_back(parent < 0 ? parent : first + parent);
  for (Target target : tree.targets) {
    target.row += first;
    plan.targets.push_back(target);
  }
  plan.num_tokens_unshared += tree.num_tokens_unshared;
  plan.max_depth = std::max(plan.max_depth, tree.max_depth);
}

}  // namespace

std::vector<Context> distinct_contexts(const Sequences& sequences) {
  check_sequences(sequences);
  std::vector<std::int32_t> order(sequences.num_context.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) {
    return std::ranges::lexicographical_compare(context_of(sequences, a), context_of(sequences, b));
  });
  std::vector<Context> contexts;
  for (const std::int32_t i : order) {
    const auto tokens = context_of(sequences, i);
    if (contexts.empty() || !std::ranges::equal(contexts.back().tokens, tokens)) contexts.push_back({tokens, {}});
    contexts.back().sequences.push_back(i);
  }
  return contexts;
}

std::vector<std::span<const Context>> cut_contexts(std::span<const Context> contexts, std::int64_t max_tokens) {
  std::vector<std::span<const Context>> pieces;
  while (!contexts.empty()) {
    std::size_t count = 1;
    std::int64_t tokens = std::ssize(contexts[0].tokens);
    while (count < contexts.size() && tokens + std::ssize(contexts[count].tokens) <= max_tokens) {
      tokens += std::ssize(contexts[count++].tokens);
    }
    pieces.push_back(contexts.first(count));
    contexts = contexts.subspan(count);
  }
  return pieces;
}

std::int64_t count_tokens(std::span<const Context> contexts) {
  std::int64_t tokens = 0;
  for (const Context& context : contexts) tokens += std::ssize(context.tokens);
  return tokens;
}

DecoderPlan make_decoder_plan(const Sequences& sequences, std::span<const Context> contexts, std::int32_t start_token) {
  DecoderPlan result{.plan = {}, .first_rows = {0}};
  for (const Context& context : contexts) {
    append(make_tree(sequences, context, start_token), result.plan);
    result.first_rows.push_back(result.plan.num_tokens());
  }
  return result;
}

}  // namespace syco
