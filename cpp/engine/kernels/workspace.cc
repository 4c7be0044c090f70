#include "engine/kernels/workspace.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <cstdlib>
#include <new>

namespace syco {

at::Tensor make_workspace(at::IntArrayRef shape) {
#ifdef MADV_HUGEPAGE
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t bytes = c10::multiply_integers(shape) * sizeof(float);
  if (bytes >= kHugePage) {
    const std::size_t whole = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* memory = std::aligned_alloc(kHugePage, whole);
    if (!memory) throw std::bad_alloc();
    madvise(memory, whole, MADV_HUGEPAGE);  // a wish: where it is refused, small pages do
    return at::from_blob(memory, shape, [](void* p) { std::free(p); }, at::kFloat);
  }
#endif
  return at::empty(shape, at::kFloat);
}

}  // namespace syco
