#include "kernels/common/dispatched_target.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/common/dispatched_target.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace adder {
namespace HWY_NAMESPACE {
namespace {

int64_t this_target() { return HWY_TARGET; }

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace adder
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace adder {
namespace {

HWY_EXPORT(this_target);

}  // namespace

int64_t dispatched_target() { return HWY_DYNAMIC_DISPATCH(this_target)(); }

}  // namespace adder
#endif
