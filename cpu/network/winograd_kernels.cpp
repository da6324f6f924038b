// The vector kernels, compiled for every instruction set: Highway includes this file once for each.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/network/winograd_kernels.cpp"
#include <hwy/foreach_target.h>
// After foreach_target: these depend on the target.
#include <hwy/highway.h>

#include "cpu/network/winograd_multiply-inl.h"
#include "cpu/network/winograd_task.h"
#include "cpu/network/winograd_transform-inl.h"

HWY_BEFORE_NAMESPACE();
namespace branchsae::cpu::HWY_NAMESPACE {

template <int kBlock>
void multiply_panel(const WinogradTask& task, int64_t first_block, int64_t blocks, float* products) {
  const Layout& in = task.src.layout;
  const int64_t points = kWinogradPoints * kWinogradPoints, channels = in.padded_channels();
  const int64_t width = blocks * kBlock;
  const float* weights = task.weights + points * in.c * first_block * kBlock;
  for (int64_t point = 0; point < points; ++point) {
    multiply<kBlock>({.left = task.scratch + point * winograd_point_stride(task.tiles, channels),
                      .left_stride = channels,
                      .right = weights + point * in.c * width,
                      .depth = in.c,
                      .rows = task.tiles,
                      .width = width,
                      .product = products + point * winograd_point_stride(task.tiles, width)});
  }
}

template <int kOutputs, int kBlock>
void run_task(const WinogradTask& task) {
  transform_inputs<kBlock>(task);
  float* products = task.scratch + winograd_input_floats(task.tiles, task.src.layout);
  const WinogradPanels panels{task.dst.layout.blocks()};
  for (int64_t panel = task.first_panel; panel < task.first_panel + task.panels; ++panel) {
    multiply_panel<kBlock>(task, panels.begin(panel), panels.width(panel), products);
    transform_panel<kOutputs, kBlock>(task, panels.begin(panel), panels.width(panel), products);
  }
}

template <int kBlock>
void run_form(const WinogradTask& task) {
  task.form.outputs == 4 ? run_task<4, kBlock>(task) : run_task<2, kBlock>(task);
}

void RunWinogradTask(const WinogradTask& task) {
  task.src.layout.block == 16 ? run_form<16>(task) : run_form<8>(task);
}

}  // namespace branchsae::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace branchsae::cpu {

HWY_EXPORT(RunWinogradTask);
void run_winograd_task(const WinogradTask& task) {
  HWY_DYNAMIC_DISPATCH(RunWinogradTask)(task);
}

}  // namespace branchsae::cpu
#endif
