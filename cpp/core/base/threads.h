// Work that falls into independent items, on several threads. Which thread does which item is left open, so an item's
// result must go to a place of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

namespace syco {

// Gives out 0 .. size-1, each once, to whoever asks.
class IndexQueue {
 public:
  explicit IndexQueue(std::int64_t size) : size_(size) {}

  std::optional<std::int64_t> next() {
    const std::int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    return index < size_ && !is_closed_.load(std::memory_order_relaxed) ? std::optional(index) : std::nullopt;
  }
  // Gives out nothing more.
  void close() { is_closed_.store(true, std::memory_order_relaxed); }

 private:
  std::int64_t size_;
  std::atomic<std::int64_t> next_ = 0;
  std::atomic<bool> is_closed_ = false;
};

// Processors that this process may use: those of its affinity (taskset), but no more than the quota of its control
// group (a container), rounded up, as files below `groups` say it.
int usable_processors(const std::filesystem::path& groups = "/sys/fs/cgroup");

// The number of threads that `num_threads` asks for; 0: what SYCO_NUM_THREADS says, else OMP_NUM_THREADS, else one a
// processor, and never more than are usable.
int thread_count(int num_threads);

// Runs `work` on that many threads (at most one an item) until its queue is empty. What a thread throws closes the
// queue and is thrown again when all have ended; of several errors, one. Throws std::system_error if the system has no
// such thread.
void for_each_index(std::int64_t size, int num_threads, const std::function<void(IndexQueue&)>& work);

// Threads that stay for a job and take one step after another together. One that waits for the others does so awake for
// some microseconds, and then asleep: its processor is free for whoever else is on the machine.
class Team {
 public:
  // The caller's is one of its threads. Throws std::system_error if the system has not so many.
  explicit Team(int num_threads);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return static_cast<int>(errors_.size()); }
  // The number of the calling thread in the team that it works for; 0 for the one that runs it.
  static int this_thread();

  // Runs work() on every thread. What a thread throws is thrown again when all have ended; of several errors, one.
  void run(const std::function<void()>& work) const;
  // Runs item(i) for 0 <= i < count, each on the thread that is free next. After an error no item begins.
  void each(std::int64_t count, const std::function<void(std::int64_t)>& item) const;
  // As each(), share(begin, end) for parts of [0, count): at least one part a thread, of `most` items at most.
  void shares(std::int64_t count, std::int64_t most,
              const std::function<void(std::int64_t, std::int64_t)>& share) const;

 private:
  void serve(int thread);
  void dismiss();
  void take_part(int thread) const;

  mutable std::vector<std::exception_ptr> errors_;  // of each thread
  mutable const std::function<void()>* work_ = nullptr;
  mutable std::atomic<std::uint32_t> step_ = 0;
  mutable std::atomic<std::uint32_t> num_busy_ = 0;
  std::vector<std::jthread> threads_;
};

}  // namespace syco
