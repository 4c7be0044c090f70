#include "engine/panels/panel_engine.h"

#include <algorithm>

#include "core/base/errors.h"
#include "engine/panels/decoder.h"
#include "engine/panels/encoder_decoder.h"
#include "engine/panels/head.h"

namespace syco {
namespace {

// Pieces of contexts that an encoder-decoder runs before its decoder, which has few rows after each context: enough to
// fill panels for every thread.
constexpr std::int64_t kPiecesTogether = 8;

void check_options(const PanelScoreOptions& options) {
  require(options.panels_per_thread > 0, "engine: panels_per_thread must be > 0");
}

int usable_threads(const PanelScoreOptions& options) {
  return std::min(thread_count(options.num_threads), usable_processors());
}

// Panels that a thread runs together: many where layers are small, so that weights are fetched seldom; few where they
// are large, so that a step, after which Ctrl-C is looked for, stays short. Experts take as many as fill a panel each.
std::int64_t affordable_panels(const Spec& spec, std::int64_t threads, std::int64_t wanted) {
  const Experts& experts = spec.experts;
  const std::int64_t layer = spec.hidden * (2 * spec.num_heads * spec.head_dim + 3 * spec.intermediate);
  const std::int64_t filled = experts.count / std::max<std::int64_t>(experts.chosen, 1) / threads;
  const std::int64_t least = std::min(wanted, std::max<std::int64_t>(filled, 4));
  return std::clamp<std::int64_t>((std::int64_t{1} << 26) / std::max<std::int64_t>(layer, 1), least, wanted);
}

// Panels of a chunk: at most `most`, and about as many in the last chunk as in the others, since a chunk of few panels
// takes nearly as long to read the weights as a whole one.
std::int64_t panels_a_chunk(std::int64_t panels, std::int64_t most, std::int64_t threads) {
  const std::int64_t chunks = std::max<std::int64_t>((panels + most - 1) / most, 1),
                     each = (panels + chunks - 1) / chunks;
  return std::min((each + threads - 1) / threads * threads, most);
}

Chunk make_chunk(const Plan& plan, std::int64_t first_row, std::int64_t max_panels) {
  Chunk chunk{.first_row = first_row, .panels = {}};
  for (std::int64_t row = first_row; row < plan.num_tokens() && chunk.num_panels() < max_panels; row += kColumns) {
    chunk.panels.push_back(make_panel(plan, row, kColumns));
  }
  return chunk;
}

}  // namespace

PanelEngine::PanelEngine(const std::string& config_json, const std::map<std::string, Weight>& weights,
                         const Adapters& adapters)
    : spec_(read_spec(config_json)), weights_(read_weights(spec_, weights, adapters)) {}

ScoreResult PanelEngine::score(const Sequences& sequences, const PanelScoreOptions& options,
                               const std::function<void(std::int64_t, std::int64_t)>& tick) const {
  return score(Team(usable_threads(options)), sequences, options, tick);
}

ScoreResult PanelEngine::score(const Team& team, const Sequences& sequences, const PanelScoreOptions& options,
                               const std::function<void(std::int64_t, std::int64_t)>& tick) const {
  check_options(options);
  const Plan plan = plan_job(sequences, spec_);
  const std::int64_t whole = (plan.num_tokens() + kColumns - 1) / kColumns, threads = team.size();
  const std::int64_t panels =
      panels_a_chunk(whole, affordable_panels(spec_, threads, options.panels_per_thread) * threads, threads);
  ScoreResult result = empty_result(sequences, plan.num_tokens());
  const Weights weights = with_float_vectors(weights_);
  Decoder decoder(team, spec_, weights, options.precision);
  Head head(team, spec_, weights, options.precision, result.log_probs, result.is_greedy);
  decoder.begin(plan, panels);
  auto target = plan.targets.begin();
  for (std::int64_t row = 0; row < plan.num_tokens();) {
    const Chunk chunk = make_chunk(plan, row, panels);
    decoder.run(chunk, [&] { tick(row, plan.num_tokens()); });
    row = std::min(row + chunk.num_panels() * kColumns, plan.num_tokens());
    const auto end = std::find_if(target, plan.targets.end(), [&](const Target& t) { return t.row >= row; });
    head.take({target, end}, [&](std::int64_t at, float* column) { decoder.copy_hidden(at, column); });
    target = end;
    tick(row, plan.num_tokens());
  }
  head.flush();
  return result;
}

PanelEncoderDecoderEngine::PanelEncoderDecoderEngine(const std::string& config_json,
                                                     const std::map<std::string, Weight>& weights)
    : spec_(read_encoder_decoder_spec(config_json)), weights_(read_encoder_decoder_weights(spec_, weights)) {}

ScoreResult PanelEncoderDecoderEngine::score(const Sequences& sequences, const PanelScoreOptions& options,
                                             const std::function<void(std::int64_t, std::int64_t)>& tick) const {
  return score(Team(usable_threads(options)), sequences, options, tick);
}

ScoreResult PanelEncoderDecoderEngine::score(const Team& team, const Sequences& sequences,
                                             const PanelScoreOptions& options,
                                             const std::function<void(std::int64_t, std::int64_t)>& tick) const {
  const Spec& sizes = spec_.decoder;
  check_options(options);
  check_tokens(sequences, sizes);
  const std::int64_t max_tokens =
      affordable_panels(sizes, team.size(), options.panels_per_thread) * team.size() * kColumns;
  const std::vector<Context> contexts = distinct_contexts(sequences);
  std::vector<ContextBatch> batches;
  std::int64_t total = count_tokens(contexts);
  for (const auto piece : cut_contexts(contexts, kPiecesTogether * max_tokens)) {
    batches.push_back({piece, make_decoder_plan(sequences, piece, spec_.start_token)});
    total += batches.back().decoder.plan.num_tokens();
  }
  ScoreResult result = empty_result(sequences, total);
  const EncoderDecoderWeights weights = with_float_vectors(weights_);
  EncoderDecoder model(team, spec_, weights, options.precision);
  Head head(team, sizes, weights.decoder, options.precision, result.log_probs, result.is_greedy);
  model.begin(batches, max_tokens);
  std::int64_t done = 0;
  for (const ContextBatch& batch : batches) {
    model.run(batch, [&](std::int64_t rows) { tick(done + rows, total); });
    head.take(batch.decoder.plan.targets, [&](std::int64_t row, float* column) { model.copy_hidden(row, column); });
    done += count_tokens(batch.contexts) + batch.decoder.plan.num_tokens();
    tick(done, total);
  }
  head.flush();
  return result;
}

}  // namespace syco
