// Work that falls into independent items, on several threads. Which thread does which item is left open, so an item's
// result must go to a place of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>

namespace syco {

// Gives out 0 .. size-1, each once, to whoever asks.
class IndexQueue {
 public:
  explicit IndexQueue(std::int64_t size) : size_(size) {}

  std::optional<std::int64_t> next() {
    const std::int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    return index < size_ ? std::optional(index) : std::nullopt;
  }

 private:
  std::int64_t size_;
  std::atomic<std::int64_t> next_ = 0;
};

// The number of threads that `num_threads` asks for; 0: one a core.
int thread_count(int num_threads);

// Runs `work` on that many threads (at most one an item) until its queue is empty. What a thread throws is thrown again
// when all have ended.
void for_each_index(std::int64_t size, int num_threads, const std::function<void(IndexQueue&)>& work);

}  // namespace syco
