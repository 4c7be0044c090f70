// Takes weights out of the caller's by name and checks them; what is left at the end is unknown.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/model/weights.h"

namespace syco {

class WeightReader {
 public:
  explicit WeightReader(std::map<std::string, Weight> named, Adapters adapters = {});

  Weight take(const std::string& name, const std::vector<std::int64_t>& shape);
  // Undefined where there is none.
  Weight find(const std::string& name, const std::vector<std::int64_t>& shape);
  Norm norm(const std::string& name, std::int64_t size);
  // With its adapter, if there is one.
  Matrix linear(const std::string& name, std::int64_t rows, std::int64_t columns);
  // The same, stored the other way round, as GPT-2 does.
  Matrix turned_linear(const std::string& name, std::int64_t rows, std::int64_t columns);
  bool has(const std::string& name) const { return named_.contains(name); }
  // Throws ModelError naming a weight or an adapter that was not taken.
  void refuse_rest() const;

 private:
  std::shared_ptr<const LowRank> adapter(const std::string& name, std::int64_t rows, std::int64_t columns);

  std::map<std::string, Weight> named_;
  Adapters adapters_;
  NumberType type_;
};

}  // namespace syco
