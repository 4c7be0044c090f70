// What the bindings of every engine share: a job's arrays in, its scores out, Ctrl-C and progress meanwhile.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <chrono>
#include <cstdint>

#include "bindings/spans.h"
#include "engine/job.h"

namespace syco {

inline constexpr const char* kEngineDoc =
    "Check a transformers config and the model's named weights; ModelError names what the engine does not know.";
inline constexpr const char* kScoreDoc =
    "Return the log-probability of each sequence's scored tokens, in nats; the number of tokens run; and for each "
    "sequence whether no token is likelier than any of its scored ones.";

// An array of exactly this type, which another is not turned into.
template <typename T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

// Python's answer to Ctrl-C, then the caller's progress, at most every tenth of a second.
class Ticker {
 public:
  explicit Ticker(const pybind11::object& progress) : progress_(progress) {}
  void operator()(std::int64_t done, std::int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(100) && done < total) return;
    last_ = now;
    const pybind11::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
    if (!progress_.is_none()) progress_(done, total);
  }

 private:
  const pybind11::object& progress_;
  std::chrono::steady_clock::time_point last_ = {};
};

template <typename AnyEngine, typename Options>
pybind11::tuple score(const AnyEngine& engine, const Array<std::int32_t>& tokens, const Array<std::int64_t>& offsets,
                      const Array<std::int32_t>& num_context, const Options& options,
                      const pybind11::object& progress) {
  const auto view = []<typename T>(const Array<T>& array) {
    return std::span<const T>(array.data(), static_cast<std::size_t>(array.size()));
  };
  const Sequences sequences{view(tokens), view(offsets), view(num_context)};
  ScoreResult result;
  {
    const pybind11::gil_scoped_release no_gil;
    result = engine.score(sequences, options, Ticker(progress));
  }
  const auto count = static_cast<pybind11::ssize_t>(result.log_probs.size());
  return pybind11::make_tuple(Array<double>(count, result.log_probs.data()), result.num_tokens,
                              pybind11::array(pybind11::dtype::of<bool>(), count, result.is_greedy.data()));
}

}  // namespace syco
