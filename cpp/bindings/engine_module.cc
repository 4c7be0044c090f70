// The module _engine: scoring on torch's own operators, for devices. Needs the torch that it was built with, imported
// first.
#include <torch/csrc/utils/pybind.h>

#include <utility>

#include "bindings/scoring.h"
#include "core/base/errors.h"
#include "engine/tensors/tensor_engine.h"

namespace py = pybind11;

namespace syco {
namespace {

py::tuple score_tensors(const TensorEngine& engine, const Array<std::int32_t>& tokens,
                        const Array<std::int64_t>& offsets, const Array<std::int32_t>& num_context,
                        std::int64_t chunk_rows, const py::object& progress) {
  return score(engine, tokens, offsets, num_context, TensorScoreOptions{.chunk_rows = chunk_rows}, progress);
}

void bind_tensor_engine(py::module_& m) {
  py::class_<TensorEngine>(m, "TensorEngine",
                           "A decoder model on the caller's weights, all on one device (CPU or CUDA), in float32, "
                           "bfloat16 or float16; every job reads them again.")
      .def(py::init<const std::string&, const std::map<std::string, at::Tensor>&>(), py::arg("config_json"),
           py::arg("weights"), kEngineDoc)
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
  m.doc() = "Scoring engine of sycophancy_core on torch's operators.";
  syco::translate_errors();
  syco::bind_tensor_engine(m);
}
