// Configs of models, and jobs for them, whose numbers come from bytes. Weights have the shapes that the config asks
// for, so that a config is not refused for them and what it says reaches the memory that the engines work in.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "core/base/errors.h"
#include "engine/panels/panel_engine.h"
#include "engine/tensors/tensor_engine.h"
#include "fuzz/fuzz_targets.h"
#include "makers/asked_tensors.h"
#include "makers/tiny_configs.h"

namespace syco {
namespace {

using nlohmann::json;

constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();
constexpr std::array<std::int64_t, 12> kHostile = {-1,
                                                   0,
                                                   1,
                                                   2,
                                                   3,
                                                   1 << 16,
                                                   1 << 20,
                                                   std::int64_t{1} << 30,
                                                   std::int64_t{1} << 31,
                                                   std::int64_t{1} << 32,
                                                   std::int64_t{1} << 62,
                                                   kLargest};
constexpr std::array<double, 9> kHostileReals = {-1, 0, 0.1, 0.3, 0.999, 1.5, 1e-300, 1e300, 1e18};

// Changes about one number in eight of a config, and now and then a flag.
std::string mutated_config(const char* config, ByteReader& reader) {
  json flat = json::parse(config).flatten();
  for (auto& [key, value] : flat.items()) {
    const std::int64_t kind = reader.below(32);
    if (value.is_number() && kind < 2) value = 1 + reader.below(40);
    if (value.is_number() && kind == 2) value = kHostile[reader.below(kHostile.size())];
    if (value.is_number() && kind == 3) value = kHostileReals[reader.below(kHostileReals.size())];
    if (value.is_boolean() && kind < 4) value = !value.get<bool>();
  }
  return flat.unflatten().dump();
}

// Sequences of which most can be scored; now and then an id, an offset or a border is anything.
struct Job {
  std::vector<std::int32_t> tokens, num_context;
  std::vector<std::int64_t> offsets = {0};

  explicit Job(ByteReader& reader) {
    const std::int64_t count = reader.below(8), longest = 2 + reader.below(120), alphabet = 2 + reader.below(40);
    for (std::int64_t s = 0; s < count; ++s) {
      const std::int64_t length = 2 + reader.below(longest);
      const std::int64_t given = reader.below(64) == 0 ? reader.below(200) - 3 : 1 + reader.below(length - 1);
      for (std::int64_t i = 0; i < length; ++i) tokens.push_back(static_cast<std::int32_t>(i * i % alphabet));
      tokens.back() = static_cast<std::int32_t>(reader.below(alphabet));  // where sequences part
      num_context.push_back(static_cast<std::int32_t>(given));
      offsets.push_back(std::ssize(tokens));
    }
    if (reader.below(32) == 0) offsets[reader.below(std::ssize(offsets))] = hostile(reader);
    if (reader.below(32) == 0) offsets.resize(reader.below(std::ssize(offsets) + 2));
    if (reader.below(32) == 0) num_context.resize(reader.below(std::ssize(offsets) + 2));
    if (reader.below(32) == 0 && count > 0) {
      tokens[reader.below(count)] = static_cast<std::int32_t>(hostile(reader));
    }
  }
  static std::int64_t hostile(ByteReader& reader) {
    return kHostile[reader.below(kHostile.size())] * (reader.below(2) == 0 ? 1 : -1);
  }
  Sequences sequences() const { return {tokens, offsets, num_context}; }
};

// Runs `step`, and tells whether it gave a result; any error but these two ends the program.
template <typename Step>
bool allow_refusal(Step step) {
  try {
    step();
    return true;
  } catch (const DataError&) {
    return false;  // a proper answer
  } catch (const ModelError&) {
    return false;
  }
}

void expect(bool condition) {
  if (!condition) __builtin_trap();
}

bool is_same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Two engines share the reading of a config and nothing else: what both score must be the same.
void compare(const std::vector<double>& ours, const std::vector<double>& theirs) {
  expect(ours.size() == theirs.size());
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const bool is_near = std::isfinite(ours[i]) && std::abs(ours[i] - theirs[i]) <= 0.01 * (1 + std::abs(ours[i]));
    expect(is_near || is_same(ours[i], theirs[i]));
  }
}

template <typename Engine>
std::vector<double> scored(const Engine& engine, const Job& job, int threads, MatmulPrecision precision,
                           std::int64_t panels) {
  const auto result = engine.score(Team(threads), job.sequences(),
                                   {.precision = precision, .panels_per_thread = panels}, [](auto, auto) {});
  expect(result.log_probs.size() == job.num_context.size() && result.is_greedy.size() == job.num_context.size());
  return result.log_probs;
}

bool fuzz_decoder(Bytes bytes) {
  ByteReader reader(bytes);
  const char* base = kDecoderConfigs[reader.below(kDecoderConfigs.size())];
  const int threads = reader.below(8) == 0 ? 3 : 1;
  at::set_num_threads(threads);
  const auto precision = static_cast<MatmulPrecision>(reader.below(3));
  const std::int64_t panels = reader.below(4);
  const std::string config = mutated_config(base, reader);
  const Job job(reader);
  return allow_refusal([&] {
    const auto weights = asked_weights<PanelEngine>(config, Rng{0});
    const auto ours = scored(PanelEngine(config, weights), job, threads, precision, panels);
    const auto theirs =
        TensorEngine(config, tensors_of(weights)).score(job.sequences(), {.chunk_rows = 0}, [](auto, auto) {});
    if (precision == MatmulPrecision::kHighest) compare(ours, theirs.log_probs);
  });
}

bool fuzz_encoder_decoder(Bytes bytes) {
  ByteReader reader(bytes);
  const char* base = kEncoderDecoderConfigs[reader.below(kEncoderDecoderConfigs.size())];
  const int threads = reader.below(8) == 0 ? 3 : 1;
  at::set_num_threads(threads);
  const auto precision = static_cast<MatmulPrecision>(reader.below(3));
  const std::string config = mutated_config(base, reader);
  const Job job(reader);
  return allow_refusal([&] {
    const PanelEncoderDecoderEngine engine(config, asked_weights<PanelEncoderDecoderEngine>(config, Rng{0}));
    const auto once = scored(engine, job, threads, precision, 1), again = scored(engine, job, threads, precision, 3);
    expect(std::ranges::equal(once, again, is_same));
  });
}

// The text of a config itself.
bool fuzz_config(Bytes bytes) {
  const std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const bool is_decoder = allow_refusal([&] { read_spec(text); });
  return allow_refusal([&] { read_encoder_decoder_spec(text); }) || is_decoder;
}

constexpr std::array<FuzzTarget, 3> kTargets = {{
    {"decoder", &fuzz_decoder, "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz"},
    {"encoder_decoder", &fuzz_encoder_decoder, "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrst"},
    {"config", &fuzz_config, kDecoderConfigs[0]},
}};

}  // namespace

std::span<const FuzzTarget> fuzz_targets() { return kTargets; }

}  // namespace syco
