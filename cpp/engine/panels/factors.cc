#include "engine/panels/factors.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "engine/kernels/workspace.h"

namespace syco {

Matrices matrices_of(const LayerWeights& layer) {
  Matrices all = {&layer.query, &layer.key, &layer.value, &layer.output, &layer.gate, &layer.up, &layer.down};
  std::erase_if(all, [](const Matrix* matrix) { return matrix->rows == 0; });
  return all;
}

Factors::Factors(MatmulPrecision precision, std::span<const Matrices> layers) : precision_(precision) {
  std::int64_t most = 0, widest = 0;
  for (const Matrices& layer : layers) {
    std::int64_t floats = 0;
    for (const Matrix* matrix : layer) {
      floats += matrix->num_blocks() * factor_size(precision, *matrix);
      if (matrix->transposed) widest = std::max(widest, block_size(matrix->block_rows, matrix->columns));
    }
    most = std::max(most, floats);
  }
  memory_ = make_workspace({most});
  turned_ = make_workspace({at::get_num_threads(), widest});
}

void Factors::prepare(const Matrices& layer) {
  struct Item {
    std::int64_t matrix, block;
    float* memory;
  };
  std::vector<Item> items;
  auto* memory = memory_.data_ptr<float>();
  matrices_ = layer;
  blocks_.resize(layer.size());
  for (std::size_t m = 0; m < layer.size(); ++m) {
    blocks_[m].resize(layer[m]->num_blocks());
    for (std::int64_t b = 0; b < layer[m]->num_blocks(); ++b, memory += factor_size(precision_, *layer[m])) {
      items.push_back({static_cast<std::int64_t>(m), b, memory});
    }
  }
  at::parallel_for(0, std::ssize(items), 1, [&](std::int64_t begin, std::int64_t end) {
    float* turned = turned_.data_ptr<float>() + at::get_thread_num() * turned_.stride(0);
    for (const Item& item : std::span(items).subspan(begin, end - begin)) {
      blocks_[item.matrix][item.block] =
          make_factor(precision_, *matrices_[item.matrix], item.block, item.memory, turned);
    }
  });
}

std::span<const Block> Factors::of(const Matrix& matrix) const {
  return blocks_[std::ranges::find(matrices_, &matrix) - matrices_.begin()];
}

}  // namespace syco
