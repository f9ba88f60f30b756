// Failures of the machine while a record is decided: they end the run, also where bad lines are rejected.
#pragma once
#include <exception>
#include <utility>

#include "base/error.h"

namespace ds {

// process_records takes every Error for a bad line. One of a full disk or a damaged index says nothing about the line,
// so it passes through as this, which is no Error.
struct EndOfRun {
  std::exception_ptr error;
};

// Calls f, whose Errors are no fault of the record.
template <class F>
auto ending_run(F&& f) {
  try {
    return std::forward<F>(f)();
  } catch (const Error&) {
    throw EndOfRun{std::current_exception()};
  }
}

// Calls f, in which process_records runs; what ended it is an Error again.
template <class F>
void with_end_of_run(F&& f) {
  try {
    std::forward<F>(f)();
  } catch (const EndOfRun& end) {
    std::rethrow_exception(end.error);
  }
}

}  // namespace ds
