// Errors. Callers and the outside world get an Error; our own mistakes get CHECK, which is always on.
#pragma once
#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace adder {

// What ended the request, as one line: where, what was expected, what was found, and a remedy if one is known.
class Error : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// The command line alone is wrong; `main` exits with 2 instead of 1.
class UsageError : public Error {
  public:
    using Error::Error;
};

// A device or the plan for it has too little memory: what needs how much and what there is. `main` adds the
// command's own remedy.
class OutOfMemory : public Error {
  public:
    using Error::Error;
};

// A GPU failed, or its kernels found a fault in their data: nothing that is on it can be trusted any more.
class DeviceError : public Error {
  public:
    using Error::Error;
};

// Throws Error, or another kind of it, with a formatted message.
template <class Kind = Error, class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
    throw Kind(fmt::format(format, std::forward<Args>(args)...));
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace adder

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) ::adder::check_failed(#condition, __FILE__, __LINE__); \
    } while (false)
