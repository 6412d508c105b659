// The one exception of native code: a gRPC code name and a message. The binding turns it into the caller's error class.
#pragma once
#include <stdexcept>
#include <string>

namespace moiety {

class Fault : public std::runtime_error {
 public:
  Fault(const char* code, const std::string& message) : std::runtime_error(message), code_(code) {}
  const char* code() const { return code_; }

 private:
  const char* code_;
};

// printf into a std::string.
std::string format(const char* pattern, ...) __attribute__((format(printf, 1, 2)));

[[noreturn]] inline void invalid_argument(const std::string& message) { throw Fault("INVALID_ARGUMENT", message); }
[[noreturn]] inline void failed_precondition(const std::string& message) { throw Fault("FAILED_PRECONDITION", message); }

}  // namespace moiety
