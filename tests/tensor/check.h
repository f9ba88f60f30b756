// What the tests of kernels share.
#pragma once
#include <gtest/gtest.h>
#include <hwy/highway.h>

namespace ds {

// Runs body on every vector width that this processor and this build have.
template <class Body>
void on_each_target(const Body& body) {
  const uint32_t all = hwy::SupportedTargets() & HWY_TARGETS;
  for (uint32_t left = all; left != 0; left &= left - 1) {
    hwy::SetSupportedTargetsForTest(left & -left);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    SCOPED_TRACE(hwy::TargetName(left & -left));
    body();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace ds
