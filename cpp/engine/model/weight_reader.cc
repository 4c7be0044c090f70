#include "engine/model/weight_reader.h"

#include <utility>

#include "core/base/errors.h"

namespace syco {
namespace {

using Shape = std::vector<std::int64_t>;

// As [2, 3].
std::string to_string(const Shape& shape) {
  std::string text;
  for (const std::int64_t size : shape) text += (text.empty() ? "" : ", ") + std::to_string(size);
  return "[" + text + "]";
}

}  // namespace

WeightReader::WeightReader(std::map<std::string, Weight> named, Adapters adapters)
    : named_(std::move(named)),
      adapters_(std::move(adapters)),
      type_(named_.empty() ? NumberType::kFloat32 : named_.begin()->second.type()) {}

Weight WeightReader::take(const std::string& name, const Shape& shape) {
  Weight weight = find(name, shape);
  if (!weight.defined()) throw ModelError("engine: the model has no weight " + name);
  return weight;
}

Weight WeightReader::find(const std::string& name, const Shape& shape) {
  auto found = named_.extract(name);
  if (found.empty()) return {};
  const Weight& weight = found.mapped();
  const auto refuse = [&](const std::string& why) { throw ModelError("engine: weight " + name + " " + why); };
  if (weight.shape() != shape) refuse("has shape " + to_string(weight.shape()) + ", wanted " + to_string(shape));
  if (weight.type() != type_) refuse("is " + syco::to_string(weight.type()) + ", wanted " + syco::to_string(type_));
  return weight;
}

Norm WeightReader::norm(const std::string& name, std::int64_t size) {
  return {take(name + ".weight", {size}), find(name + ".bias", {size})};
}

Matrix WeightReader::linear(const std::string& name, std::int64_t rows, std::int64_t columns) {
  return {.weight = take(name + ".weight", {rows, columns}),
          .bias = find(name + ".bias", {rows}),
          .rows = rows,
          .columns = columns,
          .low_rank = adapter(name, rows, columns)};
}

Matrix WeightReader::turned_linear(const std::string& name, std::int64_t rows, std::int64_t columns) {
  return {.weight = take(name + ".weight", {columns, rows}),
          .bias = find(name + ".bias", {rows}),
          .rows = rows,
          .columns = columns,
          .transposed = true,
          .low_rank = adapter(name, rows, columns)};
}

void WeightReader::refuse_rest() const {
  if (!named_.empty()) throw ModelError("engine: it does not know what to do with weight " + named_.begin()->first);
  if (!adapters_.empty()) throw ModelError("engine: it knows no adapter on " + adapters_.begin()->first);
}

std::shared_ptr<const LowRank> WeightReader::adapter(const std::string& name, std::int64_t rows, std::int64_t columns) {
  auto found = adapters_.extract(name);
  if (found.empty()) return nullptr;
  const auto& [down, up, row_factors] = found.mapped();
  const std::int64_t rank = down.shape().size() == 2 ? down.size(0) : 0;
  const bool fits = rank > 0 && down.shape() == Shape{rank, columns} && up.shape() == Shape{rows, rank};
  const std::string what = "engine: the adapter on " + name;
  if (!fits || (row_factors.defined() && row_factors.shape() != Shape{rows})) {
    throw ModelError(what + " has shapes " + to_string(down.shape()) + ", " + to_string(up.shape()) + " and " +
                     to_string(row_factors.shape()) + "; wanted [rank, " + std::to_string(columns) + "], [" +
                     std::to_string(rows) + ", rank] and " + to_string({rows}) + " or none");
  }
  for (const Weight* weight : {&down, &up, &row_factors}) {
    if (weight->type() != NumberType::kFloat32) {
      throw ModelError(what + " is " + syco::to_string(weight->type()) + ", wanted float32");
    }
  }
  return std::make_shared<const LowRank>(LowRank{.down = {.weight = down, .bias = {}, .rows = rank, .columns = columns},
                                                 .up = {.weight = up, .bias = {}, .rows = rows, .columns = rank},
                                                 .row_factors = row_factors});
}

}  // namespace syco
