// Runs a fuzz target without a fuzzer: NAME_fuzz SEEDS_FOLDER MUTATIONS. Every seed as it is, then that many changed
// copies of each, the same ones every time.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using ds::Rng;

// The input lies in memory of just its size, so that a sanitizer sees a read one byte past it.
void run(const std::string& input) {
  std::vector<uint8_t> bytes(input.begin(), input.end());
  bytes.shrink_to_fit();
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::string mutate(std::string text, const std::vector<std::string>& seeds, const Rng& rng) {
  static const std::vector<std::string> pieces = {
      "{", "}", "[", "]", "\"", "\\", ",", ":", "\\u", "\\ud800", "null", "-", "1e999", "18446744073709551616", "-1", "0",
      "\xff", "\xf0\x9f\x98\x80", std::string(1, '\0'), "\n", "9223372036854775807", std::string(600, '['), " "};
  uint64_t at = 0;
  const auto below = [&](size_t bound) { return static_cast<size_t>(rng.below(at++, std::max<size_t>(bound, 1))); };
  for (size_t rounds = 1 + below(3); rounds > 0; --rounds) {
    const size_t place = below(text.size() + 1), length = std::min(below(16), text.size() - place);
    switch (below(7)) {
      case 0: if (place < text.size()) text[place] ^= static_cast<char>(1 << below(8)); break;
      case 1: if (place < text.size()) text[place] = static_cast<char>(below(256)); break;
      case 2: text.insert(place, pieces[below(pieces.size())]); break;
      case 3: text.erase(place, length); break;
      case 4: text.insert(below(text.size() + 1), text.substr(place, length)); break;
      case 5: text.resize(place); break;
      default: {
        const std::string& other = seeds[below(seeds.size())];
        text = text.substr(0, place) + other.substr(std::min(other.size(), below(other.size() + 1)));
      }
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: %s SEEDS_FOLDER MUTATIONS\n", argv[0]), 2;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> seeds;
  for (const auto& file : files) {
    std::ostringstream bytes;
    bytes << std::ifstream(file, std::ios::binary).rdbuf();
    seeds.push_back(bytes.str());
  }
  if (seeds.empty()) return std::fprintf(stderr, "%s: no seeds\n", argv[1]), 1;
  const uint64_t mutations = std::strtoull(argv[2], nullptr, 10);
  run("");
  for (size_t i = 0; i < seeds.size(); ++i) {
    run(seeds[i]);
    for (uint64_t k = 0; k < mutations; ++k) run(mutate(seeds[i], seeds, Rng{i, k}));
  }
  std::printf("%zu seeds, %llu mutations of each\n", seeds.size(), static_cast<unsigned long long>(mutations));
}
