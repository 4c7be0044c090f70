#include "core/base/threads.h"

#include <algorithm>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include "core/base/errors.h"

namespace syco {

int thread_count(int num_threads) {
  constexpr int kMaxThreads = 1024;
  require(num_threads >= 0 && num_threads <= kMaxThreads,
          "threads must be 0 (one a core) to 1024, got " + std::to_string(num_threads));
  if (num_threads > 0) return num_threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

void for_each_index(std::int64_t size, int num_threads, const std::function<void(IndexQueue&)>& work) {
  const auto count = static_cast<std::size_t>(std::min<std::int64_t>(size, thread_count(num_threads)));
  IndexQueue queue(size);
  std::vector<std::exception_ptr> errors(count);
  const auto run = [&](std::size_t thread) {
    try {
      work(queue);
    } catch (...) {
      errors[thread] = std::current_exception();
    }
  };
  std::vector<std::jthread> threads;
  for (std::size_t thread = 1; thread < count; ++thread) threads.emplace_back(run, thread);
  if (count > 0) run(0);
  threads.clear();  // waits for all
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace syco
