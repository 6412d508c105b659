#include "host.h"

#include <algorithm>

namespace moiety {
namespace {

// Frees memory on the pool: unmapping gigabytes takes longer than the event loop may wait.
class Disposal : public Operation {
 public:
  Disposal(std::shared_ptr<Host> host, std::shared_ptr<const void> garbage) : Operation(std::move(host)), garbage_(std::move(garbage)) {}

 protected:
  void compute(Team&) override {}
  void release() override { garbage_.reset(); }

 private:
  std::shared_ptr<const void> garbage_;
};

}  // namespace

void Operation::execute(Team& team) noexcept {
  try {
    compute(team);
  } catch (const Fault& fault) {
    fault_ = fault;
  } catch (const std::bad_alloc&) {
    fault_ = Fault("RESOURCE_EXHAUSTED", "out of memory");
  } catch (const std::exception& error) {
    fault_ = Fault("INTERNAL", error.what());
  }
  release();
  host_->post(this);
}

void Operation::settle(Napi::Env env) {
  finish();
  if (!deferred_) return;
  try {
    if (fault_) {
      deferred_->Reject(host_->error(env, fault_->code(), fault_->what()));
    } else {
      deferred_->Resolve(result(env));
    }
  } catch (const Napi::Error& error) {
    deferred_->Reject(error.Value());
  }
}

Host::Host(Napi::Env env, const KernelTable& kernels, int threads, Napi::Function make_error)
    : env_(env),
      kernels_(kernels),
      threads_(threads),
      make_error_(Napi::Persistent(make_error)),
      channel_state_(std::make_shared<ChannelState>()),
      pool_(std::make_unique<ThreadPool>(threads, kQueueCapacity)),
      loaders_(std::make_unique<LoaderPool>(std::min(threads, 4), kLoaderCapacity)) {
  channel_ = Channel::New(
      env, "moiety-kernels", 0, 1, channel_state_.get(),
      [](Napi::Env, std::shared_ptr<ChannelState>* state, ChannelState*) {
        {
          std::lock_guard<std::mutex> lock((*state)->mutex);
          (*state)->open = false;
        }
        delete state;
      },
      new std::shared_ptr<ChannelState>(channel_state_));
  channel_.Unref(env);
  // After the channel's own hook, for hooks run in reverse order: the threads end while the channel still exists.
  napi_add_env_cleanup_hook(env_, on_environment_end, this);
}

Host::~Host() {
  if (!ended_) napi_remove_env_cleanup_hook(env_, on_environment_end, this);
  pool_.reset();
  loaders_.reset();
  close_channel();
}

void Host::close_channel() {
  std::lock_guard<std::mutex> lock(channel_state_->mutex);
  if (channel_state_->open) channel_.Release();
  channel_state_->open = false;
}

void Host::on_environment_end(void* host) { static_cast<Host*>(host)->end(); }

// Waits for the operations that run, for they use memory that goes with the environment; what is queued is dropped.
void Host::end() {
  // The last operation may hold the last reference.
  const std::shared_ptr<Host> self = shared_from_this();
  ended_ = closing_ = true;
  pool_.reset();
  loaders_.reset();
  close_channel();
  waiting_for_close_.clear();
  operations_.clear();
}

template <class Pool>
Napi::Promise Host::submit_to(Napi::Env env, Pool* pool, size_t capacity, std::unique_ptr<Operation> operation) {
  if (closing_) throw Fault("FAILED_PRECONDITION", "the kernels are closed");
  Operation* const submitted = operation.get();
  operations_.emplace(submitted, std::move(operation));
  if (!pool->submit(submitted)) {
    operations_.erase(submitted);
    throw Fault("RESOURCE_EXHAUSTED", format("the queue of operations is full (%zu)", capacity));
  }
  // It comes back through `post`, which this thread handles later.
  if (operations_.size() == 1) channel_.Ref(env);
  return submitted->promise(env);
}

Napi::Promise Host::submit(Napi::Env env, std::unique_ptr<Operation> operation) {
  return submit_to(env, pool_.get(), kQueueCapacity, std::move(operation));
}
Napi::Promise Host::submit_load(Napi::Env env, std::unique_ptr<Operation> operation) {
  return submit_to(env, loaders_.get(), kLoaderCapacity, std::move(operation));
}

void Host::dispose(Napi::Env env, std::shared_ptr<const void> garbage) {
  if (closing_) return;
  try {
    submit(env, std::make_unique<Disposal>(shared_from_this(), std::move(garbage)));
  } catch (const Fault&) {
    // The queue is full: it is freed here and now.
  }
}

Napi::Promise Host::close(Napi::Env env) {
  auto deferred = Napi::Promise::Deferred::New(env);
  waiting_for_close_.push_back(deferred);
  closing_ = true;
  if (operations_.empty()) close_now(env);
  return deferred.Promise();
}

void Host::close_now(Napi::Env env) {
  pool_.reset();
  loaders_.reset();
  for (auto& deferred : waiting_for_close_) deferred.Resolve(env.Undefined());
  waiting_for_close_.clear();
}

void Host::ended(Napi::Env env) {
  if (!operations_.empty()) return;
  channel_.Unref(env);
  if (closing_) close_now(env);
}

Napi::Value Host::error(Napi::Env env, const char* code, const std::string& message) const {
  return make_error_.Call({Napi::String::New(env, code), Napi::String::New(env, message)});
}

void Host::post(Operation* operation) {
  std::lock_guard<std::mutex> lock(channel_state_->mutex);
  if (channel_state_->open && channel_.BlockingCall(operation) != napi_ok) channel_state_->open = false;
}

void Host::on_settled(Napi::Env env, Napi::Function, ChannelState* state, Operation* operation) {
  // Once the channel is closed, the host has freed its operations.
  if (env == nullptr || !state->open) return;
  const Napi::HandleScope scope(env);
  const std::shared_ptr<Host> host = operation->host_;
  const auto owned = host->operations_.extract(operation);
  operation->settle(env);
  host->ended(env);
}

}  // namespace moiety
