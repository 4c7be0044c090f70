// Memory for one Arrow buffer: aligned, sized once, written once, never initialised.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace syco {

// Gives memory back the way it was taken, which depends on its size.
struct ReleaseMemory {
  std::size_t num_bytes = 0;

  void operator()(char* memory) const;
};

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t num_bytes) { resize(num_bytes); }

  // Makes room for `num_bytes`; what was held before is lost. Memory is kept if it suffices and recycled, else
  // replaced.
  void resize(std::size_t num_bytes);

  std::size_t size() const { return size_; }
  char* data() { return memory_.get(); }
  const char* data() const { return memory_.get(); }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(memory_.get());
  }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(memory_.get());
  }

 private:
  std::unique_ptr<char, ReleaseMemory> memory_;
  std::size_t size_ = 0;
};

}  // namespace syco
