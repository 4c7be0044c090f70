// Teams of threads, and how many threads a process may use.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#ifdef __linux__
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>
#endif

#include "core/base/threads.h"

namespace syco {
namespace {

TEST(Threads, ATeamTakesEveryItemOnceInEveryStep) {
  for (const int threads : {1, 2, 5}) {
    const Team team(threads);
    ASSERT_EQ(team.size(), threads);
    for (const std::int64_t count : {0, 1, 3, 1000}) {
      std::vector<std::atomic<int>> taken(count);
      team.each(count, [&](std::int64_t i) { ++taken[i]; });
      team.shares(count, 7, [&](std::int64_t begin, std::int64_t end) {
        EXPECT_LT(begin, end);
        EXPECT_LE(end - begin, 7);
        for (std::int64_t i = begin; i < end; ++i) ++taken[i];
      });
      for (const auto& times : taken) EXPECT_EQ(times, 2);
    }
  }
}

TEST(Threads, EveryThreadOfATeamHasANumberOfItsOwn) {
  const Team team(4);
  for (int step = 0; step < 50; ++step) {
    std::array<std::atomic<int>, 4> seen{};
    team.run([&] { ++seen.at(Team::this_thread()); });
    for (const auto& times : seen) EXPECT_EQ(times, 1);
  }
  EXPECT_EQ(Team::this_thread(), 0);
}

TEST(Threads, WhatAThreadThrowsIsThrownOnceAllHaveEnded) {
  const Team team(3);
  std::atomic<int> others = 0;
  const auto fail = [&] {
    if (Team::this_thread() == 2) throw std::runtime_error("two");
    ++others;
  };
  EXPECT_THROW(team.run(fail), std::runtime_error);
  EXPECT_EQ(others, 2);
  EXPECT_NO_THROW(team.run([&] { ++others; }));
  EXPECT_EQ(others, 5);
}

TEST(Threads, OfSeveralErrorsOneIsThrownAndTheNextRunHasNone) {
  const Team team(4);
  for (int run = 0; run < 20; ++run) {
    EXPECT_THROW(team.run([] { throw std::runtime_error("all"); }), std::runtime_error);
    std::atomic<int> done = 0;
    EXPECT_NO_THROW(team.run([&] { ++done; }));
    EXPECT_EQ(done, 4);
  }
}

// So many items that a test that took them all would not end.
constexpr std::int64_t kEndless = std::int64_t{1} << 50;

TEST(Threads, AnErrorInOneItemEndsTheOthers) {
  const Team team(3);
  const auto fail_at_1000 = [](std::int64_t i) {
    if (i == 1000) throw std::runtime_error("1000");
  };
  EXPECT_THROW(team.each(kEndless, fail_at_1000), std::runtime_error);
  const auto fail_at_first = [](std::int64_t begin, std::int64_t) {
    if (begin == 0) throw std::runtime_error("0");
  };
  EXPECT_THROW(team.shares(std::int64_t{1} << 31, 1, fail_at_first), std::runtime_error);
  const auto take_all = [&](IndexQueue& queue) {
    while (const auto i = queue.next()) fail_at_1000(*i);
  };
  EXPECT_THROW(for_each_index(kEndless, 3, take_all), std::runtime_error);
  std::atomic<int> done = 0;
  team.each(3, [&](std::int64_t) { ++done; });
  EXPECT_EQ(done, 3);
}

#ifdef __linux__

// Ends this process: with 0 if threads that the system refuses end in an error, and those that it gave do not stay.
[[noreturn]] void make_more_threads_than_memory_holds() {
  std::int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const auto bytes = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + (std::int64_t{256} << 20));
  const rlimit limit{.rlim_cur = bytes, .rlim_max = bytes};
  setrlimit(RLIMIT_AS, &limit);
  alarm(60);  // the system ends a process that waits for ever
  const auto is_refused = [](const auto& make) {
    try {
      make();
      return false;
    } catch (const std::system_error&) {
      return true;
    }
  };
  const bool both = is_refused([] { const Team team(1000); }) && is_refused([] {
                      for_each_index(kEndless, 1000, [](IndexQueue& queue) {
                        while (queue.next()) {
                        }
                      });
                    });
  std::atomic<int> done = 0;
  Team(2).run([&] { ++done; });
  std::_Exit(both && done == 2 ? 0 : 1);
}

TEST(ThreadsDeathTest, ThreadsThatCannotStartAreAnErrorAndNoneWaitsForEver) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer needs the memory that this test takes away";
#endif
  EXPECT_EXIT(make_more_threads_than_memory_holds(), testing::ExitedWithCode(0), "");
}

// A folder of control groups whose root has a limit.
class Groups {
 public:
  explicit Groups(const std::string& limit)
      : folder_(std::filesystem::temp_directory_path() / ("syco-groups-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "cpu.max") << limit << "\n";
  }
  ~Groups() { std::filesystem::remove_all(folder_); }
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

int processors_of_affinity() {
  cpu_set_t set;
  EXPECT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  return CPU_COUNT(&set);
}

TEST(Threads, AContainersQuotaIsAnUpperLimitRoundedUp) {
  const int processors = processors_of_affinity();
  EXPECT_EQ(usable_processors(Groups("max 100000").folder()), processors);
  EXPECT_EQ(usable_processors(Groups("10000 100000").folder()), 1);
  EXPECT_EQ(usable_processors(Groups("100000 100000").folder()), 1);
  EXPECT_EQ(usable_processors(Groups("110000 100000").folder()), std::min(2, processors));
  EXPECT_EQ(usable_processors(Groups("9900000 100000").folder()), std::min(99, processors));
  EXPECT_EQ(usable_processors("/no/such/folder"), processors);
}

TEST(Threads, TheAffinityIsALimitAndTheEnvironmentMayAskForFewer) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usable_processors(), 1);
  setenv("SYCO_NUM_THREADS", "64", 1);
  EXPECT_EQ(thread_count(0), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  setenv("OMP_NUM_THREADS", "1", 1);
  EXPECT_EQ(thread_count(0), std::min(64, usable_processors()));
  setenv("SYCO_NUM_THREADS", "1", 1);
  EXPECT_EQ(thread_count(0), 1);
  unsetenv("SYCO_NUM_THREADS");
  EXPECT_EQ(thread_count(0), 1);
  unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(thread_count(0), usable_processors());
  EXPECT_EQ(thread_count(5), 5);
}

#endif

}  // namespace
}  // namespace syco
