#include "core/tables/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace syco {
namespace {

constexpr std::size_t kAlignment = 64;
// From here on a buffer has pages of its own, so that the kernel can give it huge ones: a fresh page costs more to map
// than to write.
constexpr std::size_t kMapFrom = std::size_t{1} << 20;

std::size_t round_up(std::size_t num_bytes) { return (num_bytes + kAlignment - 1) / kAlignment * kAlignment; }

char* allocate(std::size_t num_bytes) {
  if (num_bytes < kMapFrom) {
    void* memory = std::aligned_alloc(kAlignment, num_bytes);
    if (memory == nullptr) throw std::bad_alloc();
    return static_cast<char*>(memory);
  }
  void* memory = ::mmap(nullptr, num_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  ::madvise(memory, num_bytes, MADV_HUGEPAGE);  // advice: a kernel without huge pages refuses, at no loss
  return static_cast<char*>(memory);
}

}  // namespace

void ReleaseMemory::operator()(char* memory) const {
  if (num_bytes < kMapFrom) {
    std::free(memory);
  } else {
    ::munmap(memory, num_bytes);
  }
}

void Buffer::resize(std::size_t num_bytes) {
  size_ = num_bytes;
  const std::size_t wanted = round_up(num_bytes);
  if (memory_ != nullptr && memory_.get_deleter().num_bytes >= wanted) return;
  memory_.reset();
  if (wanted > 0) memory_ = std::unique_ptr<char, ReleaseMemory>(allocate(wanted), ReleaseMemory{wanted});
}

}  // namespace syco
