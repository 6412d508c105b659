// Compute threads that run one operation at a time, all together.
//
// The leader (thread 0) takes operations from a first-in-first-out queue and runs them. Inside an operation it opens
// phases with Team::parallel; every thread then takes indices of the phase until none is left, and the leader goes on
// when all are done. A helper that the system has not scheduled is not waited for: only taken indices are. Waiting
// spins for a few microseconds, giving way to other processes, and then sleeps.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace moiety {

class Team {
 public:
  explicit Team(int threads) : threads_(threads) {}
  int threads() const { return threads_; }

  // Calls body(index, thread) once for every index in [0, count), on any thread. The order is not defined.
  // The first exception of a body is rethrown here, after the phase.
  template <class Body>
  void parallel(int64_t count, Body&& body) {
    if (count <= 0) return;
    if (threads_ == 1 || count == 1) {
      for (int64_t index = 0; index < count; ++index) body(index, 0);
      return;
    }
    run_phase(count, [](void* context, int64_t index, int thread) { (*static_cast<std::remove_reference_t<Body>*>(context))(index, thread); },
              &body);
  }

 private:
  friend class ThreadPool;
  using Call = void (*)(void* context, int64_t index, int thread);

  void run_phase(int64_t count, Call call, void* context);
  // Takes indices of the open phase until there is none.
  void take_part(int thread);
  // Returns false when the team ends.
  bool wait_for_phase(uint32_t seen);
  void helper_main(int thread);
  void end();

  const int threads_;
  // Phase number in the high half, next index in the low half; kClosed there when no index may be taken.
  std::atomic<uint64_t> ticket_{0x00000000ffffffffULL};
  std::atomic<Call> call_{nullptr};
  std::atomic<void*> context_{nullptr};
  std::atomic<uint32_t> count_{0};
  std::atomic<uint32_t> done_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> leader_sleeps_{false};
  std::atomic<bool> ended_{false};
  std::mutex mutex_;
  std::condition_variable phase_opened_;
  std::condition_variable phase_done_;
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
};

// One queued operation. `execute` runs on the leader, must not throw, and disposes of the object.
class Job {
 public:
  virtual ~Job() = default;
  virtual void execute(Team& team) noexcept = 0;
};

class ThreadPool {
 public:
  // Throws std::system_error, with no thread left over, when the system gives no more threads.
  ThreadPool(int threads, size_t capacity);
  // Ends the threads after the operation that is running; what is still queued is never run nor freed.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return team_.threads(); }
  // Returns false, and takes nothing, when the queue is full.
  bool submit(Job* job);
  // How long the job that runs now has run; zero when none does. From any thread.
  std::chrono::nanoseconds running_for() const;

 private:
  void leader_main();
  void end();

  Team team_;
  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable submitted_;
  std::deque<Job*> queue_;
  std::atomic<size_t> queued_{0};
  // When the job that runs now began, by the steady clock; zero when none does.
  std::atomic<std::chrono::nanoseconds> running_since_{std::chrono::nanoseconds::zero()};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

// Threads for slow work outside the operations' order: mapping and checking weights.
class LoaderPool {
 public:
  // Throws as ThreadPool does.
  LoaderPool(int threads, size_t capacity);
  ~LoaderPool();
  bool submit(Job* job);

 private:
  void loader_main();
  void end();

  Team solo_{1};
  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable submitted_;
  std::deque<Job*> queue_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace moiety
