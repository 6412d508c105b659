#include "host.h"

#include <algorithm>

namespace moiety {
namespace {

// Frees memory on the pool: unmapping gigabytes takes longer than the event loop may wait.
class Disposal : public Operation {
 public:
  Disposal(Napi::Env env, std::shared_ptr<Host> host, std::shared_ptr<const void> garbage)
      : Operation(env, std::move(host)), garbage_(std::move(garbage)) {}

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
  try {
    if (fault_) {
      deferred_.Reject(host_->error(env, fault_->code(), fault_->what()));
    } else {
      deferred_.Resolve(result(env));
    }
  } catch (const Napi::Error& error) {
    deferred_.Reject(error.Value());
  }
}

Host::Host(Napi::Env env, const KernelTable& kernels, int threads, Napi::Function make_error)
    : kernels_(kernels),
      threads_(threads),
      make_error_(Napi::Persistent(make_error)),
      channel_state_(std::make_shared<ChannelState>()),
      pool_(std::make_unique<ThreadPool>(threads, kQueueCapacity)),
      loaders_(std::make_unique<LoaderPool>(std::min(threads, 4), kLoaderCapacity)) {
  channel_ = Channel::New(
      env, "moiety-kernels", 0, 1, nullptr,
      [](Napi::Env, std::shared_ptr<ChannelState>* state, std::nullptr_t*) {
        {
          std::lock_guard<std::mutex> lock((*state)->mutex);
          (*state)->open = false;
        }
        delete state;
      },
      new std::shared_ptr<ChannelState>(channel_state_));
  channel_.Unref(env);
}

Host::~Host() {
  pool_.reset();
  loaders_.reset();
  std::lock_guard<std::mutex> lock(channel_state_->mutex);
  if (channel_state_->open) channel_.Release();
  channel_state_->open = false;
}

template <class Pool>
Napi::Promise Host::submit_to(Napi::Env env, Pool& pool, std::unique_ptr<Operation> operation) {
  if (closing_) throw Fault("FAILED_PRECONDITION", "the kernels are closed");
  const Napi::Promise promise = operation->promise();
  if (!pool.submit(operation.get())) {
    throw Fault("RESOURCE_EXHAUSTED", format("the queue of operations is full (%zu)", kQueueCapacity));
  }
  // From here the operation belongs to the pool; it comes back through `post`, which this thread handles later.
  operation.release();
  began(env);
  return promise;
}

Napi::Promise Host::submit(Napi::Env env, std::unique_ptr<Operation> operation) { return submit_to(env, *pool_, std::move(operation)); }
Napi::Promise Host::submit_load(Napi::Env env, std::unique_ptr<Operation> operation) { return submit_to(env, *loaders_, std::move(operation)); }

void Host::dispose(Napi::Env env, std::shared_ptr<const void> garbage) {
  if (closing_) return;
  try {
    submit(env, std::make_unique<Disposal>(env, shared_from_this(), std::move(garbage)));
  } catch (const Fault&) {
    // The queue is full: it is freed here and now.
  }
}

Napi::Promise Host::close(Napi::Env env) {
  auto deferred = Napi::Promise::Deferred::New(env);
  waiting_for_close_.push_back(deferred);
  closing_ = true;
  if (pending_ == 0) close_now(env);
  return deferred.Promise();
}

void Host::close_now(Napi::Env env) {
  if (!closed_) {
    closed_ = true;
    pool_.reset();
    loaders_.reset();
  }
  for (auto& deferred : waiting_for_close_) deferred.Resolve(env.Undefined());
  waiting_for_close_.clear();
}

void Host::began(Napi::Env env) {
  if (pending_++ == 0) channel_.Ref(env);
}

void Host::ended(Napi::Env env) {
  if (--pending_ > 0) return;
  channel_.Unref(env);
  if (closing_) close_now(env);
}

Napi::Value Host::error(Napi::Env env, const char* code, const std::string& message) const {
  return make_error_.Call({Napi::String::New(env, code), Napi::String::New(env, message)});
}

void Host::post(Operation* operation) {
  std::lock_guard<std::mutex> lock(channel_state_->mutex);
  // When the environment ends, what it owned cannot be freed from this thread.
  if (channel_state_->open && channel_.BlockingCall(operation) != napi_ok) channel_state_->open = false;
}

void Host::on_settled(Napi::Env env, Napi::Function, std::nullptr_t*, Operation* operation) {
  if (env == nullptr) return;
  const Napi::HandleScope scope(env);
  const std::unique_ptr<Operation> owned(operation);
  const std::shared_ptr<Host> host = operation->host_;
  operation->settle(env);
  host->ended(env);
}

}  // namespace moiety
