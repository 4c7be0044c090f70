// Numbers of a model in memory that somebody else owns and shares with us.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace syco {

enum class NumberType : std::uint8_t { kFloat32, kBFloat16, kFloat16 };

std::string to_string(NumberType type);

// Row by row, without gaps. It may be on a device, of which a Weight knows nothing: who reads it has made sure.
class Weight {
 public:
  Weight() = default;
  // `owner` keeps the memory alive.
  Weight(NumberType type, std::vector<std::int64_t> shape, const void* data, std::shared_ptr<const void> owner);

  bool defined() const { return owner_ != nullptr; }
  NumberType type() const { return type_; }
  const std::vector<std::int64_t>& shape() const { return shape_; }
  std::int64_t size(std::int64_t dimension) const { return shape_[dimension]; }
  std::int64_t num_numbers() const;
  const void* data() const { return data_; }
  // Of a float32 weight.
  const float* floats() const { return static_cast<const float*>(data_); }

  // Its rows [first, first + count).
  Weight rows(std::int64_t first, std::int64_t count) const;
  // What it is at an index of its first dimension.
  Weight at(std::int64_t index) const;

 private:
  NumberType type_ = NumberType::kFloat32;
  std::vector<std::int64_t> shape_;
  const void* data_ = nullptr;
  std::shared_ptr<const void> owner_;
};

// Its numbers [first, first + count) as float32.
void read_numbers(const Weight& weight, std::int64_t first, std::int64_t count, float* y);

// The same weight in float32: itself, or a copy.
Weight in_float32(const Weight& weight);

}  // namespace syco
