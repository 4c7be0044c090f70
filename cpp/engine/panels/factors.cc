#include "engine/panels/factors.h"

#include <algorithm>

namespace syco {

Matrices matrices_of(const LayerWeights& layer) {
  Matrices all = {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down};
  std::erase_if(all, [](const Matrix* matrix) { return matrix->rows == 0; });
  for (std::size_t i = 0, count = all.size(); i < count; ++i) {
    if (const LowRank* adapter = all[i]->low_rank.get()) all.insert(all.end(), {&adapter->down, &adapter->up});
  }
  return all;
}

Factors::Factors(const Team& team, MatmulPrecision precision, std::span<const Matrices> layers)
    : team_(&team), precision_(precision) {
  std::int64_t most = 0, widest = 0;
  for (const Matrices& layer : layers) {
    std::int64_t floats = 0;
    for (const Matrix* matrix : layer) {
      if (is_widened(precision, *matrix)) continue;
      floats += matrix->num_blocks() * factor_size(precision, *matrix);
      if (matrix->transposed || matrix->weight.type() == NumberType::kFloat16)
        widest = std::max(widest, block_size(matrix->block_rows, matrix->columns));
    }
    most = std::max(most, floats);
  }
  memory_ = Workspace({most});
  turned_ = Workspace({team.size(), widest});
}

void Factors::prepare(const Matrices& layer) {
  struct Item {
    std::int64_t matrix, block;
    float* memory;
  };
  std::vector<Item> items;
  auto* memory = memory_.data();
  matrices_ = layer;
  blocks_.resize(layer.size());
  for (std::size_t m = 0; m < layer.size(); ++m) {
    if (is_widened(precision_, *layer[m])) continue;
    blocks_[m].resize(layer[m]->num_blocks());
    for (std::int64_t b = 0; b < layer[m]->num_blocks(); ++b, memory += factor_size(precision_, *layer[m])) {
      items.push_back({static_cast<std::int64_t>(m), b, memory});
    }
  }
  team_->each(std::ssize(items), [&](std::int64_t i) {
    const Item& item = items[i];
    float* turned = panel_of(turned_, Team::this_thread());
    blocks_[item.matrix][item.block] =
        make_factor(precision_, *matrices_[item.matrix], item.block, item.memory, turned);
  });
}

Block Factors::of(const Matrix& matrix, std::int64_t block, float* memory) const {
  if (is_widened(precision_, matrix)) return make_factor(precision_, matrix, block, memory, nullptr);
  return blocks_[std::ranges::find(matrices_, &matrix) - matrices_.begin()][block];
}

}  // namespace syco
