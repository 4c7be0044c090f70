#include "engine/kernels/weight.h"

#include <cstring>
#include <utility>

#include "engine/kernels/widen.h"

namespace syco {

std::string to_string(NumberType type) {
  switch (type) {
    case NumberType::kFloat32:
      return "float32";
    case NumberType::kBFloat16:
      return "bfloat16";
    case NumberType::kFloat16:
      return "float16";
  }
  return {};
}

Weight::Weight(NumberType type, std::vector<std::int64_t> shape, const void* data, std::shared_ptr<const void> owner)
    : type_(type), shape_(std::move(shape)), data_(data), owner_(std::move(owner)) {}

std::int64_t Weight::num_numbers() const {
  std::int64_t numbers = 1;
  for (const std::int64_t size : shape_) numbers *= size;
  return numbers;
}

Weight Weight::rows(std::int64_t first, std::int64_t count) const {
  const std::int64_t bytes = type_ == NumberType::kFloat32 ? 4 : 2, row = shape_[0] > 0 ? num_numbers() / shape_[0] : 0;
  Weight part = *this;
  part.shape_[0] = count;
  part.data_ = static_cast<const std::byte*>(data_) + first * row * bytes;
  return part;
}

Weight Weight::at(std::int64_t index) const {
  Weight part = rows(index, 1);
  part.shape_.erase(part.shape_.begin());
  return part;
}

void read_numbers(const Weight& weight, std::int64_t first, std::int64_t count, float* y) {
  const auto* halves = static_cast<const std::uint16_t*>(weight.data()) + first;
  switch (weight.type()) {
    case NumberType::kBFloat16:
      return widen_bfloat16(halves, count, y);
    case NumberType::kFloat16:
      return widen_float16(halves, count, y);
    case NumberType::kFloat32:
      std::memcpy(y, weight.floats() + first, count * sizeof(float));
  }
}

Weight in_float32(const Weight& weight) {
  if (!weight.defined() || weight.type() == NumberType::kFloat32) return weight;
  const auto numbers = std::make_shared<std::vector<float>>(weight.num_numbers());
  read_numbers(weight, 0, std::ssize(*numbers), numbers->data());
  return {NumberType::kFloat32, weight.shape(), numbers->data(), numbers};
}

}  // namespace syco
