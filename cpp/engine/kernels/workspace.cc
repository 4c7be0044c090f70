#include "engine/kernels/workspace.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <new>

namespace syco {

Workspace::Workspace(std::initializer_list<std::int64_t> shape) : shape_(shape), strides_(shape.size()) {
  constexpr std::int64_t kLine = 64, kHugePage = std::int64_t{2} << 20;
  std::int64_t numbers = 1, bytes = 0;
  for (std::size_t i = shape_.size(); i-- > 0;) {
    strides_[i] = numbers;
    if (__builtin_mul_overflow(numbers, shape_[i], &numbers)) throw std::bad_alloc();
  }
  if (__builtin_mul_overflow(std::max<std::int64_t>(numbers, 1), std::int64_t{sizeof(float)}, &bytes))
    throw std::bad_alloc();
  const std::int64_t unit = bytes >= kHugePage ? kHugePage : kLine, whole = (bytes + unit - 1) / unit * unit;
  memory_.reset(static_cast<float*>(std::aligned_alloc(unit, whole)));
  if (!memory_) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  if (unit == kHugePage) madvise(memory_.get(), whole, MADV_HUGEPAGE);  // a wish: where it is refused, small pages do
#endif
}

void Workspace::fill(float number) const { std::fill_n(data(), size(0) * stride(0), number); }

}  // namespace syco
