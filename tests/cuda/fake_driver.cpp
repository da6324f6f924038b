/// Just enough of the CUDA driver for the runtime to ask its version and be refused. Numbers are CUresult's.
#include <cstdint>
#include <cstring>

extern "C" {

#ifdef FAULT_too_old
constexpr int kVersion = 11040;
constexpr int kInit = 0;
#else
constexpr int kVersion = 20000;  // newer than any runtime
constexpr int kInit = 100;       // CUDA_ERROR_NO_DEVICE
#endif

int cuInit(unsigned) {
  return kInit;
}

int cuDriverGetVersion(int* version) {
  *version = kVersion;
  return 0;
}

int cuGetExportTable(const void** table, const void*) {
  *table = nullptr;
  return 500;  // CUDA_ERROR_NOT_FOUND
}

int cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, int* found);

int cuGetProcAddress(const char* name, void** function, int version, uint64_t flags) {
  int found = 0;
  return cuGetProcAddress_v2(name, function, version, flags, &found);
}

/// Any other function: says that the driver was not initialised.
int refuse() {
  return kInit == 0 ? 3 : kInit;
}

int cuGetProcAddress_v2(const char* name, void** function, int, uint64_t, int* found) {
  if (found != nullptr) *found = 0;
  if (std::strcmp(name, "cuInit") == 0)
    *function = reinterpret_cast<void*>(cuInit);
  else if (std::strcmp(name, "cuDriverGetVersion") == 0)
    *function = reinterpret_cast<void*>(cuDriverGetVersion);
  else if (std::strcmp(name, "cuGetProcAddress") == 0)
    *function = reinterpret_cast<void*>(cuGetProcAddress_v2);
  else if (std::strcmp(name, "cuGetExportTable") == 0)
    *function = reinterpret_cast<void*>(cuGetExportTable);
  else
    *function = reinterpret_cast<void*>(refuse);
  return 0;
}
}
