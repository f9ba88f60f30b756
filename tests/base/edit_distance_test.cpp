#include "base/edit_distance.h"

#include <gtest/gtest.h>

namespace ds {

TEST(EditDistance, KnownDistances) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("flaw", "lawn"), 2u);
  EXPECT_EQ(edit_distance("same", "same"), 0u);
}

}  // namespace ds
