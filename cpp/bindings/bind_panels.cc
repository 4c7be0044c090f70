#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.h"
#include "bindings/scoring.h"
#include "core/base/errors.h"
#include "engine/panels/panel_engine.h"

namespace py = pybind11;

namespace syco {
namespace {

// Arrays say float32 and float16 themselves; NumPy has no bfloat16, so that its bits come as uint16.
NumberType type_of(const std::string& name, const py::array& array) {
  if (py::isinstance<py::array_t<float>>(array)) return NumberType::kFloat32;
  if (py::isinstance<py::array_t<std::uint16_t>>(array)) return NumberType::kBFloat16;
  if (array.dtype().kind() == 'f' && array.dtype().itemsize() == 2) return NumberType::kFloat16;
  throw ModelError("engine: weight " + name + " is " + std::string(py::str(array.dtype())) +
                   ", wanted float32, float16, or uint16 with the bits of bfloat16");
}

Weight weight_of(const std::string& name, const py::array& array) {
  const NumberType type = type_of(name, array);
  const bool is_aligned = reinterpret_cast<std::uintptr_t>(array.data()) % array.itemsize() == 0;
  if (!(array.flags() & py::array::c_style) || !is_aligned) {
    throw ModelError("engine: weight " + name + " is not contiguous");
  }
  // Let go wherever the last engine on it ends.
  const std::shared_ptr<PyObject> owner(array.inc_ref().ptr(), [](PyObject* held) {
    const py::gil_scoped_acquire gil;
    py::handle(held).dec_ref();
  });
  return {type, {array.shape(), array.shape() + array.ndim()}, array.data(), owner};
}

using Arrays = std::map<std::string, py::array>;

std::map<std::string, Weight> weights_of(const Arrays& arrays) {
  std::map<std::string, Weight> weights;
  for (const auto& [name, array] : arrays) weights.emplace(name, weight_of(name, array));
  return weights;
}

template <typename AnyEngine>
AnyEngine make_engine(const std::string& config_json, const Arrays& arrays) {
  return AnyEngine(config_json, weights_of(arrays));
}

using LowRankArrays = std::map<std::string, std::tuple<py::array, py::array, std::optional<py::array>>>;

PanelEngine make_adapted_engine(const std::string& config_json, const Arrays& arrays, const LowRankArrays& low_rank) {
  Adapters adapters;
  for (const auto& [name, parts] : low_rank) {
    const auto& [down, up, row_factors] = parts;
    const Weight factors = row_factors ? weight_of(name, *row_factors) : Weight{};
    adapters.emplace(name, AdapterWeights{weight_of(name, down), weight_of(name, up), factors});
  }
  return {config_json, weights_of(arrays), adapters};
}

template <typename AnyEngine>
py::tuple score_panels(const AnyEngine& engine, const Array<std::int32_t>& tokens, const Array<std::int64_t>& offsets,
                       const Array<std::int32_t>& num_context, const std::string& matmul_precision,
                       std::int64_t panels_per_thread, int num_threads, const py::object& progress) {
  const PanelScoreOptions options{.precision = parse_precision(matmul_precision),
                                  .panels_per_thread = panels_per_thread,
                                  .num_threads = num_threads};
  return score(engine, tokens, offsets, num_context, options, progress);
}

template <typename AnyEngine>
py::class_<AnyEngine> bind_engine(py::module_& m, const char* name, const char* doc) {
  return py::class_<AnyEngine>(m, name, doc)
      .def(py::init(&make_engine<AnyEngine>), py::arg("config_json"), py::arg("weights").noconvert(), kEngineDoc)
      .def("score", &score_panels<AnyEngine>, py::arg("tokens"), py::arg("offsets"), py::arg("num_context"),
           py::kw_only(), py::arg("matmul_precision") = "highest",
           py::arg("panels_per_thread") = PanelScoreOptions{}.panels_per_thread, py::arg("num_threads") = 0,
           py::arg("progress") = py::none(), kScoreDoc);
}

}  // namespace

void bind_panels(py::module_& m) {
  m.def(
      "is_fast", [](const std::string& name) { return is_fast(parse_precision(name)); }, py::arg("matmul_precision"),
      "Whether this processor has instructions that make that precision's products faster than those of 'highest'. "
      "ModelError if there is no such precision.");
  bind_engine<PanelEngine>(m, "PanelEngine",
                           "A decoder model on the caller's weights, on the CPU: arrays in float32, float16, or uint16 "
                           "with the bits of bfloat16. Every job reads them again.")
      .def(py::init(&make_adapted_engine), py::arg("config_json"), py::arg("weights").noconvert(),
           py::arg("low_rank").noconvert(),
           "The same with adapters on linear layers, by their names: (down, up, row_factors or None), all float32, so "
           "that a layer gives row_factors * (W x + up (down x)) + bias.");
  bind_engine<PanelEncoderDecoderEngine>(
      m, "PanelEncoderDecoderEngine",
      "The same for an encoder-decoder: contexts go to the encoder, scored tokens to the decoder.");
}

}  // namespace syco
