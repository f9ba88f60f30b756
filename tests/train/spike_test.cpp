#include "train/spike.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/error.h"
#include "train/testing.h"

namespace ds {

TEST(SpikeDetector, TwiceTheMedianAndANatAboveIt) {
  const std::vector<double> calm(60, 2.0), low(60, 0.1);
  const SpikeDetector spikes(2, calm);
  EXPECT_FALSE(spikes.is_spike(3.9));
  EXPECT_TRUE(spikes.is_spike(4.1));
  EXPECT_FALSE(SpikeDetector(2, low).is_spike(1.0));   // ten times the median, but near it in nats
  EXPECT_TRUE(SpikeDetector(2, low).is_spike(1.2));
  EXPECT_FALSE(SpikeDetector(0, calm).is_spike(1e9));
  EXPECT_FALSE(SpikeDetector(2, std::span(calm).first(49)).is_spike(1e9));
}

TEST(DescribeTrouble, NamesStepLayerAndRecords) {
  Documents documents(48);
  documents.files = {"d.jsonl"};
  for (uint64_t d = 0; d < 10; ++d) {
    documents.ids.append(std::vector<int32_t>{1, 2, 3, static_cast<int32_t>(d)});
    documents.offsets.push_back(documents.ids.size());
    documents.places.push_back({0, 100 + d});
  }
  const PackedRows packed = pack_rows(documents, 3);
  std::vector<size_t> rows(packed.count());
  std::iota(rows.begin(), rows.end(), size_t{0});
  const auto batches = make_batches(documents, packed, rows, 4);
  TrainState state = make_state(testing_train::tiny_model(1));
  state.step = 41;
  const auto trouble = [&] {
    const StepResult result = accumulate_gradients(state, batches, {});
    const std::string text = describe_trouble(state, batches, result);
    for (const Parameter& p : state.parameters) fill(p.gradient, 0);
    return text;
  };
  EXPECT_NE(trouble().find("step 42: the loss is 4.1"), std::string::npos) << trouble();
  EXPECT_NE(trouble().find("records d.jsonl:100, d.jsonl:101,"), std::string::npos);
  EXPECT_NE(trouble().find("and 2 more"), std::string::npos);
  EXPECT_NE(trouble().find("the largest gradient is that of"), std::string::npos);
  float& weight = state.model.weights.layers[1].shared_down.f32()[7];
  const float before = weight;
  weight = NAN;
  EXPECT_NE(trouble().find("the output of layer 1 is the first that is not finite"), std::string::npos) << trouble();
  weight = before;
  state.model.weights.layers[0].input_norm.f32()[3] = INFINITY;
  EXPECT_NE(trouble().find("the output of layer 0 is"), std::string::npos) << trouble();
}

}  // namespace ds
