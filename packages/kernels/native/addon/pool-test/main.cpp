// Hammers the thread pools, for ThreadSanitizer (make pool-test SANITIZE=thread): phases of every size one after the other,
// pauses in which threads fall asleep, faults, full queues, pools that end while busy. Exits with 1 when anything is wrong.
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <system_error>

#include "../thread-pool.h"

namespace {

using moiety::Team;

int failures = 0;

void expect(bool condition, const char* what) {
  if (condition) return;
  std::printf("failed: %s\n", what);
  failures += 1;
}

class Work : public moiety::Job {
 public:
  explicit Work(std::function<void(Team&)> body) : body_(std::move(body)) {}
  void execute(Team& team) noexcept override { body_(team); }

 private:
  std::function<void(Team&)> body_;
};

// Counts down from many threads; the waiter sees everything that they wrote before.
class Countdown {
 public:
  explicit Countdown(int count) : count_(count) {}
  void done() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (--count_ == 0) zero_.notify_all();
  }
  void wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    zero_.wait(lock, [&] { return count_ == 0; });
  }

 private:
  int count_;
  std::mutex mutex_;
  std::condition_variable zero_;
};

// Plain integers, written by whoever takes the index: a race or a lost index shows.
void run_phases(Team& team, int phases, bool pauses) {
  std::vector<int> sums(64, 0);
  for (int phase = 0; phase < phases; ++phase) {
    const int count = 1 + phase * 7 % 64;
    team.parallel(count, [&](int64_t index, int thread) {
      if (thread < 0 || thread >= team.threads()) std::abort();
      sums[static_cast<size_t>(index)] += phase;
    });
    for (int index = 0; index < count; ++index) {
      if (sums[static_cast<size_t>(index)] != phase) std::abort();
      sums[static_cast<size_t>(index)] = 0;
    }
    // Longer than a thread spins, so that all of them sleep.
    if (pauses && phase % 16 == 0) usleep(200);
  }
}

void test_phases() {
  for (const int threads : {1, 2, 3, 8}) {
    moiety::ThreadPool pool(threads, 64);
    Countdown countdown(4);
    std::vector<Work> works;
    for (int i = 0; i < 4; ++i) {
      works.emplace_back([&, i](Team& team) {
        run_phases(team, 2000, i % 2 == 0);
        countdown.done();
      });
    }
    for (Work& work : works) expect(pool.submit(&work), "a queue with room takes a job");
    countdown.wait();
  }
}

void test_running_time() {
  moiety::ThreadPool pool(2, 4);
  expect(pool.running_for().count() == 0, "nothing runs in a new pool");
  Countdown begun(1), released(1), ended(1);
  Work work([&](Team&) {
    begun.done();
    released.wait();
  });
  Work last([&](Team&) { ended.done(); });
  pool.submit(&work);
  begun.wait();
  usleep(2000);
  expect(pool.running_for() >= std::chrono::milliseconds(2), "a job has run for as long as it has");
  released.done();
  pool.submit(&last);
  ended.wait();
  for (int i = 0; i < 1000 && pool.running_for().count() != 0; ++i) usleep(1000);
  expect(pool.running_for().count() == 0, "nothing runs after the last job");
}

void test_faults() {
  moiety::ThreadPool pool(4, 4);
  for (int round = 0; round < 200; ++round) {
    Countdown countdown(1);
    bool thrown = false;
    Work work([&](Team& team) {
      try {
        team.parallel(32, [&](int64_t index, int) {
          if (index % 5 == 0) throw std::runtime_error("fault");
        });
      } catch (const std::runtime_error&) {
        thrown = true;
      }
      // The next phase is none the worse.
      run_phases(team, 3, false);
      countdown.done();
    });
    pool.submit(&work);
    countdown.wait();
    expect(thrown, "a fault of a phase is thrown after it");
  }
}

// Jobs outlive the pool: what it has not run, it has not touched.
void test_ending_while_busy() {
  for (int round = 0; round < 200; ++round) {
    std::atomic<int> ran{0};
    std::vector<Work> works;
    for (int i = 0; i < 8; ++i) {
      works.emplace_back([&](Team& team) {
        run_phases(team, 5, false);
        ran += 1;
      });
    }
    {
      moiety::ThreadPool pool(3, 8);
      moiety::LoaderPool loaders(2, 8);
      for (Work& work : works) pool.submit(&work);
      if (round % 2 == 0) usleep(static_cast<useconds_t>(round));
    }
    expect(ran >= 0 && ran <= 8, "a job runs once");
  }
}

void test_full_queue() {
  moiety::LoaderPool loaders(1, 2);
  Countdown started(1), release(1), finished(3);
  Work blocking([&](Team&) {
    started.done();
    release.wait();
    finished.done();
  });
  Work quick([&](Team&) { finished.done(); });
  expect(loaders.submit(&blocking), "an idle pool takes a job");
  started.wait();
  expect(loaders.submit(&quick) && loaders.submit(&quick), "a queue of two takes two jobs");
  expect(!loaders.submit(&quick), "a full queue refuses a job");
  release.done();
  finished.wait();
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Stacks do not fit into what is left of the address space: some threads start, a later one does not.
void test_too_few_threads() {
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  const rlimit small{rlim_t{1} << 28, before.rlim_max};
  setrlimit(RLIMIT_AS, &small);
  bool refused = false;
  try {
    moiety::ThreadPool pool(256, 4);
  } catch (const std::system_error&) {
    refused = true;
  }
  try {
    moiety::LoaderPool pool(256, 4);
    refused = false;
  } catch (const std::system_error&) {
  }
  setrlimit(RLIMIT_AS, &before);
  expect(refused, "threads that the system does not give are an exception, and those that it gave end");
}
#endif

}  // namespace

int main() {
  test_phases();
  test_running_time();
  test_faults();
  test_ending_while_busy();
  test_full_queue();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  test_too_few_threads();
#endif
  if (failures == 0) std::printf("the pools do as they should\n");
  return failures == 0 ? 0 : 1;
}
