#include "engine/tensors/tensors.h"

#include <ATen/ops/from_blob.h>

#include <memory>
#include <optional>
#include <sstream>

#include "core/base/errors.h"

namespace syco {
namespace {

std::optional<NumberType> type_of(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return NumberType::kFloat32;
    case at::kBFloat16:
      return NumberType::kBFloat16;
    case at::kHalf:
      return NumberType::kFloat16;
    default:
      return std::nullopt;
  }
}

at::ScalarType scalar_type(NumberType type) {
  switch (type) {
    case NumberType::kFloat32:
      return at::kFloat;
    case NumberType::kBFloat16:
      return at::kBFloat16;
    case NumberType::kFloat16:
      return at::kHalf;
  }
  return at::kFloat;
}

}  // namespace

std::map<std::string, Weight> weights_of(const std::map<std::string, at::Tensor>& tensors) {
  std::map<std::string, Weight> weights;
  for (const auto& [name, tensor] : tensors) {
    const std::optional<NumberType> type = type_of(tensor.scalar_type());
    const at::Device device = tensors.begin()->second.device();
    std::ostringstream wrong;
    if (!tensor.is_cpu() && !tensor.is_cuda()) {
      wrong << "is on " << tensor.device() << ", wanted cpu or cuda";
    } else if (tensor.device() != device) {
      wrong << "is on " << tensor.device() << ", wanted " << device;
    } else if (!type) {
      wrong << "is " << tensor.scalar_type() << ", wanted float32, bfloat16 or float16";
    } else if (!tensor.is_contiguous()) {
      wrong << "is not contiguous";
    }
    if (!type || !wrong.str().empty()) throw ModelError("engine: weight " + name + " " + wrong.str());
    weights.emplace(name,
                    Weight(*type, tensor.sizes().vec(), tensor.const_data_ptr(), std::make_shared<at::Tensor>(tensor)));
  }
  return weights;
}

at::Tensor tensor_of(const Weight& weight, at::Device device) {
  if (!weight.defined()) return {};
  return at::from_blob(const_cast<void*>(weight.data()), weight.shape(),
                       at::TensorOptions(device).dtype(scalar_type(weight.type())));
}

}  // namespace syco
