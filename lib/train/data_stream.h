// The endless stream of a run's training data: domains by their shares, windows of their files, epochs of their rows.
// Other threads read, tokenise, pack and assemble ahead of the step that takes the result.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "io/json.h"
#include "train/packing.h"

namespace ds {

// Files that share a part of the rows. Each domain is a stream of its own, which starts over when it ends.
struct Domain {
  std::string name;                       // "" where there is only one
  double share = 1;                       // of the targets; those of all domains sum to 1
  DataOptions data;
};

struct DataStreamSpec {
  std::vector<Domain> domains;
  int64_t sequence_length = 256, rows_per_step = 8, micro_batch_size = 8, steps = 1;
  // A domain's files are taken a window of so many bytes of lines at a time: its documents are packed and shuffled
  // together, and two windows a domain are in memory. Files that fit are read once. What is no regular file must fit.
  size_t window_bytes = size_t{512} << 20;
  uint64_t seed = 0;
  bool shuffle = true;
  // What documents' weights are for: their targets' part in the loss, or how often their rows come. They are raised to a
  // power that goes in a line from the first to the second over the run; sampling takes the one at a window's start.
  enum class WeightUse : uint8_t { loss, sampling } weight_use = WeightUse::loss;
  double weight_power_begin = 1, weight_power_end = 1;
};

// Where a stream stands, for a checkpoint. first_line is the line of its files at which the window begins, row how many
// rows of the window's order are taken, order_step the step that decided the sampling of that order.
struct DataPosition {
  struct DomainPosition {
    uint64_t epoch = 0, first_line = 0, row = 0, targets = 0;
    int64_t order_step = 0;
    bool operator==(const DomainPosition&) const = default;
  };
  int64_t step = 0;                        // steps taken
  std::vector<DomainPosition> domains;     // empty: the start
  bool operator==(const DataPosition&) const = default;
};
std::string position_json(const DataPosition& position);
DataPosition parse_position(const Json& json, const std::string& where);

// What one pass over all data has; `whole` says whether it is known (all domains fit into a window).
struct DataCounts {
  bool whole = true;
  uint64_t documents = 0, tokens = 0, text_bytes = 0, rows = 0, targets = 0;
};
DataCounts count_data(const DataStreamSpec& spec, const Tokenizer* tokenizer, int64_t vocab_size);

// The hashes of all input files; nothing where one is no regular file, and must be read as a whole first.
std::optional<std::vector<LineReader::InputSummary>> hash_inputs(const DataStreamSpec& spec);

class DataStream {
 public:
  // Reads the first windows. `tokenizer` may be null where records hold ids, and must outlive this.
  DataStream(const DataStreamSpec& spec, const Tokenizer* tokenizer, int64_t vocab_size, const DataPosition& from = {});
  ~DataStream();
  DataStream(const DataStream&) = delete;

  // The micro-batches of the next step, and where the stream stands after it. Row i is of the domain that is furthest
  // behind its share of the targets drawn so far, the first among equals. Errors of the data come out here.
  struct Step {
    std::vector<TrainingBatch> batches;
    DataPosition after;
  };
  Step next();
  double seconds_waited() const { return seconds_waited_; }  // by next(), in all
  const DataCounts& counts() const { return counts_; }       // of the windows that the constructor read
  // Every input file with its hash; lines are counted of those that were read to the end.
  const std::vector<LineReader::InputSummary>& inputs() const { return inputs_; }

 private:
  struct DomainStream;
  Step assemble();
  void produce();
  DataStreamSpec spec_;
  std::vector<std::unique_ptr<DomainStream>> domains_;
  DataCounts counts_;
  std::vector<LineReader::InputSummary> inputs_;
  int64_t step_ = 0;
  double seconds_waited_ = 0;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Step> ready_;
  std::exception_ptr error_;
  bool stop_ = false;
  std::thread producer_;
};

}  // namespace ds
