// OpenMP's regions on threads that ThreadSanitizer can follow. It cannot see into libgomp, so to it a region would have
// no beginning and no end, and everything in one would race with everything after it. These take the place of
// libgomp's functions in a program that is linked with them, torch's calls included. Those that torch could call
// beside them end the program rather than do nothing.

#include <barrier>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>

#define SYCO_VISIBLE extern "C" __attribute__((visibility("default")))

namespace {

struct Team {
  explicit Team(int size) : size(size), barrier(size) {}
  int size;
  std::barrier<> barrier;
};

thread_local Team* team = nullptr;
thread_local int number = 0;
thread_local int wanted_threads = 4;
std::recursive_mutex critical;

[[noreturn]] void refuse(const char* name) {
  std::fprintf(stderr, "races: torch called %s, which tests/cpp/races/openmp.cc has not\n", name);
  std::abort();
}

}  // namespace

SYCO_VISIBLE void GOMP_parallel(void (*run)(void*), void* data, unsigned num_threads, unsigned /*flags*/) {
  // Inside a region there is one thread, as with libgomp's default.
  Team mine(team ? 1 : num_threads > 0 ? static_cast<int>(num_threads) : wanted_threads);
  Team* outer = team;
  const int outer_number = number;
  const auto work = [&](int own) {
    team = &mine;
    number = own;
    run(data);
  };
  std::vector<std::jthread> threads;
  for (int own = 1; own < mine.size; ++own) threads.emplace_back(work, own);
  work(0);
  threads.clear();  // waits for all
  team = outer;
  number = outer_number;
}

SYCO_VISIBLE void GOMP_barrier() {
  if (team) team->barrier.arrive_and_wait();
}
SYCO_VISIBLE void GOMP_critical_start() { critical.lock(); }
SYCO_VISIBLE void GOMP_critical_end() { critical.unlock(); }
SYCO_VISIBLE void GOMP_critical_name_start(void** /*name*/) { critical.lock(); }
SYCO_VISIBLE void GOMP_critical_name_end(void** /*name*/) { critical.unlock(); }
SYCO_VISIBLE void GOMP_atomic_start() { critical.lock(); }
SYCO_VISIBLE void GOMP_atomic_end() { critical.unlock(); }

SYCO_VISIBLE int omp_get_max_threads() { return wanted_threads; }
SYCO_VISIBLE int omp_get_num_procs() { return wanted_threads; }
SYCO_VISIBLE int omp_get_num_threads() { return team ? team->size : 1; }
SYCO_VISIBLE int omp_get_thread_num() { return number; }
SYCO_VISIBLE int omp_in_parallel() { return team && team->size > 1 ? 1 : 0; }
SYCO_VISIBLE void omp_set_num_threads(int threads) { wanted_threads = threads; }

SYCO_VISIBLE void GOMP_loop_dynamic_start() { refuse("GOMP_loop_dynamic_start"); }
SYCO_VISIBLE void GOMP_loop_ordered_dynamic_start() { refuse("GOMP_loop_ordered_dynamic_start"); }
SYCO_VISIBLE void GOMP_sections_start() { refuse("GOMP_sections_start"); }
SYCO_VISIBLE void GOMP_single_start() { refuse("GOMP_single_start"); }
