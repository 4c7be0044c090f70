#include "core/base/threads.h"

#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include "core/base/errors.h"

namespace syco {
namespace {

constexpr int kMaxThreads = 1024;

int processors_of_affinity() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// The least of the quotas of this process's control group and those above it, in processors; infinity without one.
// https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max), and of version 1 cpu.cfs_quota_us.
double quota(const std::filesystem::path& groups) {
  double least = std::numeric_limits<double>::infinity(), used = 0, period = 0;
  std::filesystem::path group;
  std::ifstream own("/proc/self/cgroup");
  for (std::string line; std::getline(own, line);) {
    if (line.starts_with("0::/")) group = line.substr(4);
  }
  for (;; group = group.parent_path()) {
    std::ifstream limit(groups / group / "cpu.max");  // "max 100000" where there is none
    if (limit >> used >> period && period > 0) least = std::min(least, used / period);
    if (group.empty()) break;
  }
  std::ifstream first(groups / "cpu/cpu.cfs_quota_us"), second(groups / "cpu/cpu.cfs_period_us");
  if (first >> used && second >> period && used > 0 && period > 0) least = std::min(least, used / period);
  return least;
}

// A number of threads as the environment says it; 0 where it says none.
int threads_of_environment() {
  for (const char* name : {"SYCO_NUM_THREADS", "OMP_NUM_THREADS"}) {
    const char* text = std::getenv(name);
    const std::int64_t number = text ? std::strtoll(text, nullptr, 10) : 0;
    if (number > 0) return static_cast<int>(std::min<std::int64_t>(number, kMaxThreads));
  }
  return 0;
}

thread_local int number_of_this_thread = 0;

// Waits until done(), awake at first: a step that others are about to end is not worth a sleep.
template <typename Done, typename Sleep>
void wait_until(const Done& done, const Sleep& sleep) {
  constexpr int kTries = 1000;
  for (int i = 0; i < kTries; ++i) {
    if (done()) return;
#ifdef __x86_64__
    __builtin_ia32_pause();
#endif
  }
  while (!done()) sleep();
}

// Calls work(), and closes the queue that it takes items from if it throws.
template <typename Work>
void close_on_error(IndexQueue& queue, const Work& work) {
  try {
    work();
  } catch (...) {
    queue.close();
    throw;
  }
}

// Throws the first of what the threads left here, and leaves nothing.
void throw_one(std::vector<std::exception_ptr>& errors) {
  std::exception_ptr first;
  for (std::exception_ptr& error : errors) {
    if (const std::exception_ptr found = std::exchange(error, nullptr); !first) first = found;
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace

int usable_processors(const std::filesystem::path& groups) {
  const double most = std::ceil(quota(groups));
  const int processors = processors_of_affinity();
  return most < processors ? std::max(1, static_cast<int>(most)) : processors;
}

int thread_count(int num_threads) {
  require(num_threads >= 0 && num_threads <= kMaxThreads,
          "threads must be 0 (one a core) to 1024, got " + std::to_string(num_threads));
  if (num_threads > 0) return num_threads;
  const int wanted = threads_of_environment(), usable = usable_processors();
  return wanted > 0 ? std::min(wanted, usable) : usable;
}

void for_each_index(std::int64_t size, int num_threads, const std::function<void(IndexQueue&)>& work) {
  const auto count = static_cast<std::size_t>(std::min<std::int64_t>(size, thread_count(num_threads)));
  IndexQueue queue(size);
  std::vector<std::exception_ptr> errors(count);
  const auto run = [&](std::size_t thread) {
    try {
      close_on_error(queue, [&] { work(queue); });
    } catch (...) {
      errors[thread] = std::current_exception();
    }
  };
  std::vector<std::jthread> threads;
  close_on_error(queue, [&] {
    for (std::size_t thread = 1; thread < count; ++thread) threads.emplace_back(run, thread);
  });
  if (count > 0) run(0);
  threads.clear();  // waits for all
  throw_one(errors);
}

Team::Team(int num_threads) : errors_(std::max(num_threads, 1)) {
  try {
    for (int thread = 1; thread < size(); ++thread) threads_.emplace_back([this, thread] { serve(thread); });
  } catch (...) {
    dismiss();
    throw;
  }
}

Team::~Team() { dismiss(); }

// A step without work, after which threads end.
void Team::dismiss() {
  work_ = nullptr;
  ++step_;
  step_.notify_all();
}

int Team::this_thread() { return number_of_this_thread; }

void Team::serve(int thread) {
  number_of_this_thread = thread;
  for (std::uint32_t seen = 0;; ++seen) {
    wait_until([&] { return step_ != seen; }, [&] { step_.wait(seen); });
    if (!work_) return;
    take_part(thread);
    if (--num_busy_ == 0) num_busy_.notify_one();
  }
}

void Team::take_part(int thread) const {
  try {
    (*work_)();
  } catch (...) {
    errors_[thread] = std::current_exception();
  }
}

void Team::run(const std::function<void()>& work) const {
  work_ = &work;
  num_busy_ = static_cast<std::uint32_t>(size()) - 1;
  ++step_;
  step_.notify_all();
  take_part(0);
  wait_until([&] { return num_busy_ == 0; },
             [&] {
               if (const std::uint32_t busy = num_busy_; busy != 0) num_busy_.wait(busy);
             });
  work_ = nullptr;
  throw_one(errors_);
}

void Team::each(std::int64_t count, const std::function<void(std::int64_t)>& item) const {
  IndexQueue queue(count);
  run([&] {
    close_on_error(queue, [&] {
      while (const auto i = queue.next()) item(*i);
    });
  });
}

void Team::shares(std::int64_t count, std::int64_t most,
                  const std::function<void(std::int64_t, std::int64_t)>& share) const {
  const std::int64_t parts = std::min(std::max<std::int64_t>((count + most - 1) / most, size()), count);
  each(parts, [&](std::int64_t part) { share(part * count / parts, (part + 1) * count / parts); });
}

}  // namespace syco
