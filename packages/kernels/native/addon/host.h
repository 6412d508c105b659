// What all objects of one Kernels handle share: threads, files, the way back to JavaScript, and its error class.
#pragma once
#include <napi.h>

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "../compute/compute.h"
#include "fault.h"
#include "mapped-file.h"
#include "thread-pool.h"

namespace moiety {

class Host;

// Whether the way back to JavaScript still exists: an environment that ends takes it away at a time of its own.
struct ChannelState {
  std::mutex mutex;
  std::atomic<bool> open{true};
};

// One promise: made on the main thread, computed on a pool without touching JavaScript, settled on the main thread.
class Operation : public Job {
 public:
  explicit Operation(std::shared_ptr<Host> host) : host_(std::move(host)) {}

  void execute(Team& team) noexcept final;
  // On the main thread, once a pool has taken the operation: one that is refused never has a promise to leave unsettled.
  Napi::Promise promise(Napi::Env env) { return deferred_.emplace(env).Promise(); }
  // On the main thread.
  void settle(Napi::Env env);
  // Keeps a JavaScript object, and the memory it owns, alive until the operation settles.
  void keep(Napi::Object object) { kept_.push_back(Napi::Persistent(object)); }

 protected:
  friend class Host;
  // On a pool thread; may throw Fault.
  virtual void compute(Team& team) = 0;
  // On the pool thread, after compute: drops what may take long to free.
  virtual void release() {}
  // On the main thread: what the promise resolves to.
  virtual Napi::Value result(Napi::Env env) { return env.Undefined(); }
  // On the main thread, whatever the outcome, before the promise settles.
  virtual void finish() {}

  const std::shared_ptr<Host> host_;

 private:
  std::optional<Napi::Promise::Deferred> deferred_;
  std::vector<Napi::ObjectReference> kept_;
  std::optional<Fault> fault_;
};

class Host : public std::enable_shared_from_this<Host> {
 public:
  // Operations that may wait; a further one is refused.
  static constexpr size_t kQueueCapacity = 4096;
  static constexpr size_t kLoaderCapacity = 65536;

  Host(Napi::Env env, const KernelTable& kernels, int threads, Napi::Function make_error);
  ~Host();

  const KernelTable& kernels() const { return kernels_; }
  int threads() const { return threads_; }
  // How long the operation that runs now has run; zero when none does.
  std::chrono::nanoseconds running_for() const { return pool_ ? pool_->running_for() : std::chrono::nanoseconds::zero(); }
  FileRegistry& files() { return files_; }

  // Queue an operation; throws Fault when the queue is closed or full.
  Napi::Promise submit(Napi::Env env, std::unique_ptr<Operation> operation);
  Napi::Promise submit_load(Napi::Env env, std::unique_ptr<Operation> operation);
  // Frees something on the pool, after what is queued now; nobody waits for it.
  void dispose(Napi::Env env, std::shared_ptr<const void> garbage);
  Napi::Promise close(Napi::Env env);

  // The caller's error class, made from a native fault.
  Napi::Value error(Napi::Env env, const char* code, const std::string& message) const;
  // From any thread.
  void post(Operation* operation);

 private:
  static void on_settled(Napi::Env env, Napi::Function, ChannelState* state, Operation* operation);
  using Channel = Napi::TypedThreadSafeFunction<ChannelState, Operation, on_settled>;

  template <class Pool>
  Napi::Promise submit_to(Napi::Env env, Pool* pool, size_t capacity, std::unique_ptr<Operation> operation);
  void ended(Napi::Env env);
  void close_now(Napi::Env env);
  // The environment ends (a worker thread that is terminated, say) and takes the memory of JavaScript's arrays with it.
  static void on_environment_end(void* host);
  void end();
  void close_channel();

  const napi_env env_;
  const KernelTable& kernels_;
  const int threads_;
  FileRegistry files_;
  Napi::FunctionReference make_error_;
  Channel channel_;
  const std::shared_ptr<ChannelState> channel_state_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<LoaderPool> loaders_;
  // Main thread only.
  std::unordered_map<Operation*, std::unique_ptr<Operation>> operations_;
  bool closing_ = false;
  bool ended_ = false;
  std::vector<Napi::Promise::Deferred> waiting_for_close_;
};

// Runs the body of a method that JavaScript calls, turning a Fault into the caller's error class.
template <class Body>
auto guarded(Napi::Env env, const Host& host, Body&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const Fault& fault) {
    throw Napi::Error(env, host.error(env, fault.code(), fault.what()));
  } catch (const std::bad_alloc&) {
    throw Napi::Error(env, host.error(env, "RESOURCE_EXHAUSTED", "out of memory"));
  } catch (const std::length_error&) {
    throw Napi::Error(env, host.error(env, "RESOURCE_EXHAUSTED", "larger than any memory"));
  }
}

// The same for a method that returns a promise: every fault rejects it.
template <class Body>
Napi::Value promised(Napi::Env env, const Host& host, Body&& body) {
  try {
    return guarded(env, host, body);
  } catch (const Napi::Error& error) {
    auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(error.Value());
    return deferred.Promise();
  }
}

}  // namespace moiety
