#pragma once
/// Errors that cross the library's API. what() is one line: what, where, what to do; detail() is shown with
/// -v.
#include <stdexcept>
#include <string>

namespace branchsae {

/// Base of all errors. The library never prints, aborts or exits; apps/ turns exit_code() into the process's.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message, std::string detail = "", int exit_code = 1)
      : std::runtime_error(message), detail_(std::move(detail)), exit_code_(exit_code) {}
  const std::string& detail() const noexcept { return detail_; }
  int exit_code() const noexcept { return exit_code_; }

 private:
  std::string detail_;
  int exit_code_;
};

/// Wrong usage or bad input: a file, option, shape or image that cannot be used. Exit code 2.
class InputError : public Error {
 public:
  explicit InputError(const std::string& message, std::string detail = "")
      : Error(message, std::move(detail), 2) {}
};

/// Shapes that do not fit together; the message names both. Exit code 2.
class ShapeError : public InputError {
 public:
  using InputError::InputError;
};

/// Reading or writing failed at run time (full disk, permission, vanished file). Exit code 1.
class IoError : public Error {
 public:
  explicit IoError(const std::string& message, std::string detail = "")
      : Error(message, std::move(detail), 1) {}
};

/// A device, driver or device library failed. Exit code 1.
class DeviceError : public Error {
 public:
  explicit DeviceError(const std::string& message, std::string detail = "")
      : Error(message, std::move(detail), 1) {}
};

/// A device's or the host's memory is spent; what was there before still works. Exit code 1.
class MemoryError : public DeviceError {
 public:
  using DeviceError::DeviceError;
};

/// NaN or Inf where training cannot go on. Exit code 1.
class NumericError : public Error {
 public:
  explicit NumericError(const std::string& message, std::string detail = "")
      : Error(message, std::move(detail), 1) {}
};

}  // namespace branchsae
