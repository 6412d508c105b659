#include "thread-pool.h"

#include <sched.h>
#include <sys/resource.h>

#include <chrono>

namespace moiety {
namespace {

constexpr uint32_t kClosed = 0xffffffffU;
// Longer than the serial stretches between phases, shorter than what a sleeping core costs another process.
constexpr auto kSpin = std::chrono::microseconds(20);
// As long as JavaScript takes from one operation of a layer to the next.
constexpr auto kSpinBetweenOperations = std::chrono::microseconds(100);

inline void pause_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `ready` or the time is up; gives the core away now and then, for other processes may need it.
template <class Ready>
bool spin_until(Ready&& ready, std::chrono::microseconds spin = kSpin) {
  const auto deadline = std::chrono::steady_clock::now() + spin;
  for (;;) {
    for (int i = 0; i < 32; ++i) {
      if (ready()) return true;
      pause_core();
    }
    if (std::chrono::steady_clock::now() >= deadline) return ready();
    sched_yield();
  }
}

// A compute thread that is busy for milliseconds gives way to an event loop that wakes on its core: without, Linux lets the
// loop wait for the rest of a time slice, and every message between processes with it. On Linux 0 means the calling thread.
constexpr int kNiceness = 5;
void give_way_to_event_loops() {
#ifdef __linux__
  ::setpriority(PRIO_PROCESS, 0, ::getpriority(PRIO_PROCESS, 0) + kNiceness);
#endif
}

std::chrono::nanoseconds now() { return std::chrono::steady_clock::now().time_since_epoch(); }

uint32_t phase_of(uint64_t ticket) { return static_cast<uint32_t>(ticket >> 32); }
uint32_t index_of(uint64_t ticket) { return static_cast<uint32_t>(ticket); }

}  // namespace

// The fields of a phase are only written while the ticket is closed. A thread that read them and then takes an index by
// compare-and-swap has read this phase's fields: had it seen a later value, it would have seen the closing as well.
void Team::run_phase(int64_t count, Call call, void* context) {
  const uint64_t phase = static_cast<uint64_t>(phase_of(ticket_.load(std::memory_order_relaxed)) + 1) << 32;
  call_.store(call, std::memory_order_release);
  context_.store(context, std::memory_order_release);
  count_.store(static_cast<uint32_t>(count), std::memory_order_release);
  done_.store(0, std::memory_order_release);
  ticket_.store(phase, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }
    phase_opened_.notify_all();
  }
  take_part(0);
  const auto all_done = [&] { return done_.load(std::memory_order_acquire) == static_cast<uint32_t>(count); };
  if (!spin_until(all_done)) {
    std::unique_lock<std::mutex> lock(mutex_);
    leader_sleeps_.store(true, std::memory_order_seq_cst);
    phase_done_.wait(lock, [&] { return done_.load(std::memory_order_seq_cst) == static_cast<uint32_t>(count); });
    leader_sleeps_.store(false, std::memory_order_relaxed);
  }
  ticket_.store(phase | kClosed, std::memory_order_seq_cst);
  std::exception_ptr failure;
  {
    std::lock_guard<std::mutex> lock(failure_mutex_);
    std::swap(failure, failure_);
  }
  if (failure) std::rethrow_exception(failure);
}

void Team::take_part(int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  for (;;) {
    const uint32_t index = index_of(ticket);
    const Call call = call_.load(std::memory_order_acquire);
    void* const context = context_.load(std::memory_order_acquire);
    const uint32_t count = count_.load(std::memory_order_acquire);
    if (index == kClosed || index >= count) return;
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel, std::memory_order_acquire)) continue;
    try {
      call(context, index, thread);
    } catch (...) {
      std::lock_guard<std::mutex> lock(failure_mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    if (done_.fetch_add(1, std::memory_order_seq_cst) + 1 == count && leader_sleeps_.load(std::memory_order_seq_cst)) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      phase_done_.notify_one();
    }
    ticket = ticket_.load(std::memory_order_acquire);
  }
}

bool Team::wait_for_phase(uint32_t seen) {
  const auto changed = [&] {
    return phase_of(ticket_.load(std::memory_order_seq_cst)) != seen || ended_.load(std::memory_order_seq_cst);
  };
  if (!spin_until(changed)) {
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    phase_opened_.wait(lock, changed);
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }
  return !ended_.load(std::memory_order_acquire);
}

void Team::helper_main(int thread) {
  give_way_to_event_loops();
  uint32_t seen = 0;
  while (wait_for_phase(seen)) {
    seen = phase_of(ticket_.load(std::memory_order_acquire));
    take_part(thread);
  }
}

void Team::end() {
  ended_.store(true, std::memory_order_seq_cst);
  { std::lock_guard<std::mutex> lock(mutex_); }
  phase_opened_.notify_all();
}

ThreadPool::ThreadPool(int threads, size_t capacity) : team_(threads), capacity_(capacity) {
  try {
    workers_.emplace_back([this] { leader_main(); });
    for (int thread = 1; thread < threads; ++thread) workers_.emplace_back([this, thread] { team_.helper_main(thread); });
  } catch (...) {
    end();
    throw;
  }
}

ThreadPool::~ThreadPool() { end(); }

void ThreadPool::end() {
  stopping_.store(true, std::memory_order_seq_cst);
  { std::lock_guard<std::mutex> lock(mutex_); }
  submitted_.notify_all();
  // The leader first: the helpers take part in the operation that it is running.
  if (!workers_.empty()) workers_.front().join();
  team_.end();
  for (size_t i = 1; i < workers_.size(); ++i) workers_[i].join();
}

bool ThreadPool::submit(Job* job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (queue_.size() >= capacity_) return false;
    queue_.push_back(job);
    queued_.fetch_add(1, std::memory_order_seq_cst);
  }
  submitted_.notify_one();
  return true;
}

void ThreadPool::leader_main() {
  give_way_to_event_loops();
  const auto awake = [&] { return queued_.load(std::memory_order_acquire) > 0 || stopping_.load(std::memory_order_acquire); };
  for (;;) {
    spin_until(awake, kSpinBetweenOperations);
    Job* job = nullptr;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      submitted_.wait(lock, awake);
      if (stopping_.load(std::memory_order_acquire)) return;
      job = queue_.front();
      queue_.pop_front();
      queued_.fetch_sub(1, std::memory_order_seq_cst);
    }
    running_since_.store(now(), std::memory_order_relaxed);
    job->execute(team_);
    running_since_.store(std::chrono::nanoseconds::zero(), std::memory_order_relaxed);
  }
}

std::chrono::nanoseconds ThreadPool::running_for() const {
  const std::chrono::nanoseconds since = running_since_.load(std::memory_order_relaxed);
  return since == std::chrono::nanoseconds::zero() ? since : now() - since;
}

LoaderPool::LoaderPool(int threads, size_t capacity) : capacity_(capacity) {
  try {
    for (int thread = 0; thread < threads; ++thread) workers_.emplace_back([this] { loader_main(); });
  } catch (...) {
    end();
    throw;
  }
}

LoaderPool::~LoaderPool() { end(); }

void LoaderPool::end() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  submitted_.notify_all();
  for (auto& worker : workers_) worker.join();
}

bool LoaderPool::submit(Job* job) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (queue_.size() >= capacity_) return false;
    queue_.push_back(job);
  }
  submitted_.notify_one();
  return true;
}

void LoaderPool::loader_main() {
  for (;;) {
    Job* job = nullptr;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      submitted_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      job = queue_.front();
      queue_.pop_front();
    }
    job->execute(solo_);
  }
}

}  // namespace moiety
