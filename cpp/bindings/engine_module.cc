// The module _engine: the scoring engine. Needs the torch that it was built with, imported first.
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <utility>

#include "core/base/errors.h"
#include "engine/panels/panel_engine.h"
#include "engine/tensors/tensor_engine.h"

namespace py = pybind11;

namespace syco {
namespace {

template <typename T>
using Array = py::array_t<T, py::array::c_style>;

template <typename T>
std::span<const T> view(const Array<T>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

// Python's answer to Ctrl-C, then the caller's progress, at most every tenth of a second.
class Ticker {
 public:
  explicit Ticker(const py::object& progress) : progress_(progress) {}
  void operator()(std::int64_t done, std::int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(100) && done < total) return;
    last_ = now;
    const py::gil_scoped_acquire gil;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!progress_.is_none()) progress_(done, total);
  }

 private:
  const py::object& progress_;
  std::chrono::steady_clock::time_point last_ = {};
};

template <typename AnyEngine, typename Options>
py::tuple score(const AnyEngine& engine, const Array<std::int32_t>& tokens, const Array<std::int64_t>& offsets,
                const Array<std::int32_t>& num_context, const Options& options, const py::object& progress) {
  const Sequences sequences{view(tokens), view(offsets), view(num_context)};
  ScoreResult result;
  {
    const py::gil_scoped_release no_gil;
    result = engine.score(sequences, options, Ticker(progress));
  }
  const auto count = static_cast<py::ssize_t>(result.log_probs.size());
  return py::make_tuple(Array<double>(count, result.log_probs.data()), result.num_tokens,
                        py::array(py::dtype::of<bool>(), count, result.is_greedy.data()));
}

template <typename AnyEngine>
py::tuple score_panels(const AnyEngine& engine, const Array<std::int32_t>& tokens, const Array<std::int64_t>& offsets,
                       const Array<std::int32_t>& num_context, const std::string& matmul_precision,
                       std::int64_t panels_per_thread, const py::object& progress) {
  const PanelScoreOptions options{.precision = parse_precision(matmul_precision),
                                  .panels_per_thread = panels_per_thread};
  return score(engine, tokens, offsets, num_context, options, progress);
}

py::tuple score_tensors(const TensorEngine& engine, const Array<std::int32_t>& tokens,
                        const Array<std::int64_t>& offsets, const Array<std::int32_t>& num_context,
                        std::int64_t chunk_rows, const py::object& progress) {
  return score(engine, tokens, offsets, num_context, TensorScoreOptions{.chunk_rows = chunk_rows}, progress);
}

constexpr const char* kScoreDoc =
    "Return the log-probability of each sequence's scored tokens, in nats; the number of tokens run; and for each "
    "sequence whether no token is likelier than any of its scored ones.";

template <typename AnyEngine>
py::class_<AnyEngine> bind_class(py::module_& m, const char* name, const char* doc) {
  return py::class_<AnyEngine>(m, name, doc)
      .def(
          py::init<const std::string&, std::map<std::string, at::Tensor>>(), py::arg("config_json"), py::arg("tensors"),
          "Check a transformers config and the model's named tensors; ModelError names what the engine does not know.");
}

template <typename AnyEngine>
void bind_engine(py::module_& m, const char* name, const char* doc) {
  bind_class<AnyEngine>(m, name, doc)
      .def("score", &score_panels<AnyEngine>, py::arg("tokens"), py::arg("offsets"), py::arg("num_context"),
           py::kw_only(), py::arg("matmul_precision") = "highest",
           py::arg("panels_per_thread") = PanelScoreOptions{}.panels_per_thread, py::arg("progress") = py::none(),
           kScoreDoc);
}

void bind_tensor_engine(py::module_& m) {
  bind_class<TensorEngine>(m, "TensorEngine",
                           "A decoder model on the caller's weights, all on one device (CPU or CUDA), in float32, "
                           "bfloat16 or float16; every job reads them again.")
      .def("score", &score_tensors, py::arg("tokens"), py::arg("offsets"), py::arg("num_context"), py::kw_only(),
           py::arg("chunk_rows") = TensorScoreOptions{}.chunk_rows, py::arg("progress") = py::none(), kScoreDoc)
      .def_property_readonly("uses_flash_attention", &TensorEngine::uses_flash_attention,
                             "Whether attention is torch's flash attention: bfloat16 and float16 on CUDA, where it "
                             "takes the size of a head.");
}

// Errors of the core, as the classes that _core registered.
void translate_errors() {
  py::register_exception_translator([](std::exception_ptr thrown) {
    const auto raise = [](const char* name, const std::exception& error) {
      py::set_error(py::module_::import("sycophancy_core._core").attr(name), error.what());
    };
    try {
      if (thrown) std::rethrow_exception(std::move(thrown));
    } catch (const DataError& error) {
      raise("DataError", error);
    } catch (const ModelError& error) {
      raise("ModelError", error);
    }
  });
}

}  // namespace
}  // namespace syco

PYBIND11_MODULE(_engine, m) {
  m.doc() = "Scoring engine of sycophancy_core.";
  syco::translate_errors();
  m.def(
      "is_fast", [](const std::string& name) { return syco::is_fast(syco::parse_precision(name)); },
      py::arg("matmul_precision"),
      "Whether this processor has instructions that make that precision's products faster than those of 'highest'. "
      "ModelError if there is no such precision.");
  syco::bind_engine<syco::PanelEngine>(
      m, "PanelEngine", "A decoder model on the caller's weights, on the CPU; every job reads them again.");
  syco::bind_engine<syco::PanelEncoderDecoderEngine>(
      m, "PanelEncoderDecoderEngine",
      "The same for an encoder-decoder: contexts go to the encoder, scored tokens to the decoder.");
  syco::bind_tensor_engine(m);
}
