// Inside the room: records through a model, a group at a time.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/parallel.h"
#include "run/embed.h"
#include "run/records.h"

namespace ds {

// Runs `make` for a record and adds its place to an Error that does not name one.
template <class F>
auto at_record(const Record& record, F make) {
  try {
    return make();
  } catch (const UsageError&) {
    throw;
  } catch (const SystemError&) {
    throw;
  } catch (const Error& error) {
    const std::string what = error.what();
    if (what.starts_with(record.where() + ":")) throw;
    fail(record.where(), ": ", what);
  }
}

// Reads groups of records, makes a request of each on all threads (`prepare`; an Error makes the record a bad one), and
// hands the good ones to `finish`, which gives them their results. The size of a group bounds memory and changes no byte.
template <class Request>
void run_groups(const RunOptions& options, Report& report, const std::function<Request(const Record&)>& prepare,
                const std::function<void(std::span<Request>, std::span<Record* const>)>& finish) {
  constexpr size_t kRecords = 1024, kBytes = size_t{4} << 20;
  process_groups(options.stream, report, kRecords, kBytes, [&](std::span<GroupedRecord> group) {
    std::vector<std::optional<Request>> made(group.size());
    parallel_for(group.size(), 1, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) try {
          made[i] = at_record(group[i].record, [&] { return prepare(group[i].record); });
        } catch (const UsageError&) {
          throw;
        } catch (const SystemError&) {
          throw;
        } catch (const Error& error) {
          group[i].error = error.what();
        }
    });
    std::vector<Request> requests;
    std::vector<Record*> records;
    for (size_t i = 0; i < group.size(); ++i) {
      if (made[i]) requests.push_back(std::move(*made[i])), records.push_back(&group[i].record);
      else if (options.stream.rejects.empty()) throw Error(group[i].error);  // ends the run: nothing is computed for it
    }
    if (!requests.empty()) finish(requests, records);
  });
  if (report.bad) warn(report.bad, " of ", report.read, " records could not be used: see ", options.stream.rejects);
}

// The number of the adapter that a record goes through: of the name in its field "adapter", none where that is null, and
// where it has none that of the adapter without a name, if there is one. Error for an unknown name.
int32_t adapter_of(const Engine& engine, const Record& record);
// The ids of a field; Error unless they are an array of integers from 0 on.
std::vector<int32_t> ids_of(const Record& record, std::string_view key);
// "[1, 2]".
std::string ids_json(std::span<const int32_t> ids);
// The model that the options name, ready to run; its files and the time of loading go into the report.
Engine load_engine(const RunOptions& options, Report& report);
// The draft model that the options name, which is set in their scheduler's options too; null where they name none. Sets how
// many tokens are guessed where they do not say. UsageError where they name a draft and the model's own head.
std::unique_ptr<Engine> load_draft(RunOptions& options);
// The name that a folder or file has: "models/llama/" is "llama".
std::string base_name(const std::string& path);
// How texts become vectors: as the options say, else the model's folder.
Pooling pooling_of(const RunOptions& options);
// The files of a model and its adapters that decide what it computes, with their hashes.
std::vector<Report::File> model_files(const RunOptions& options);
// Adds the model's files to the report's inputs where the options ask for it.
void report_model(const RunOptions& options, Report& report);
// Adds to the report how activations are computed, and the adapters.
void report_engine(const Engine& engine, Report& report);
// Adds what went through the model, and how fast, to the report.
void report_throughput(const Throughput& throughput, Report& report);

}  // namespace ds
