#pragma once
/// What a device offers: memory, copies, the network and the SAE. engine/ knows backends only through this
/// interface; cpu/ and cuda/ implement it and register themselves.
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/device_buffer.h"
#include "engine/network.h"
#include "engine/sae.h"
#include "engine/stream.h"

namespace branchsae {

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;         ///< "cpu", "cuda:0"
  virtual std::string description() const = 0;  ///< one line: processor, threads, ISA, libraries
  virtual int threads() const = 0;              ///< host threads it uses
  virtual bool is_host() const = 0;             ///< device memory can be read and written by the host
  /// Whether autoencoders of this precision can be made, and which one is taken when nobody says.
  virtual bool offers(SaePrecision precision) const { return precision == SaePrecision::kF32; }
  virtual SaePrecision usual_precision() const { return SaePrecision::kF32; }
  /// Bytes that could be allocated now; unset where that is no fixed number, as on the host.
  virtual std::optional<int64_t> memory_free() { return std::nullopt; }

  virtual std::unique_ptr<Stream> make_stream() = 0;
  /// 64-byte aligned at least. `what` names the use in errors and reports. Throws DeviceError with sizes,
  /// MemoryError when there is too little.
  virtual DeviceMemory allocate(int64_t size_bytes, std::string_view what) = 0;
  virtual void copy_to_device(Stream& stream, void* dst, const void* src, int64_t size_bytes) = 0;
  virtual void copy_to_host(Stream& stream, void* dst, const void* src, int64_t size_bytes) = 0;
  /// dst.row(i) = src.row(rows[i]); rows [dst.shape[0]] int32, device. Builds shuffled batches.
  virtual void gather_rows(Stream& stream, View<const float, 2> src, View<const int32_t, 1> rows,
                           View<float, 2> dst) = 0;
  /// Copies a strided matrix, device to device: capture into a token buffer.
  virtual void copy_rows(Stream& stream, View<const float, 2> src, View<float, 2> dst) = 0;

  /// `graph` as loaded; the backend calls optimise() with the taps' values.
  virtual std::unique_ptr<NetworkExecutor> make_network(const Graph& graph,
                                                        const NetworkOptions& options) = 0;
  virtual std::unique_ptr<SaeExecutor> make_sae(const SaeSpec& spec) = 0;

  /// One step of each of several autoencoders of this backend; the same bytes as one by one. A backend may
  /// share launches among them. saes, tokens and steps are of one length. Throws as SaeExecutor::step.
  virtual void step_group(Stream& stream, std::span<SaeExecutor* const> saes,
                          std::span<const View<const float, 2>> tokens, std::span<const SaeStep> steps);

  /// Memory of the host that copies to and from the device can use while the host goes on: pinned where that
  /// means something. Throws DeviceError with sizes.
  virtual DeviceMemory allocate_pinned(int64_t size_bytes, std::string_view what);

  template <class T>
  DeviceBuffer<T> buffer(int64_t count, std::string_view what) {
    return DeviceBuffer<T>(allocate(count * static_cast<int64_t>(sizeof(T)), what));
  }
};

/// A kind of backend ("cpu", "cuda") that this build contains.
struct BackendFactory {
  std::string kind;
  /// Empty when a device can be used; else why not, as one line ("no CUDA driver is installed").
  std::function<std::string()> unavailable;
  /// index: which device; threads: host threads (0: all).
  std::function<std::unique_ptr<Backend>(int index, int threads)> make;
  /// What it was built with, for `--version`: "CUDA 13.0, sm_80 sm_90a". Empty when there is nothing to say.
  std::string build = "";
  /// False for a backend that cannot do every job yet: "auto" passes it over, its own name still opens it.
  bool complete = true;
};

/// Called by each backend's static initialiser.
void register_backend(BackendFactory factory);
/// nullptr when the build does not contain it.
const BackendFactory* find_backend(std::string_view kind);

}  // namespace branchsae
