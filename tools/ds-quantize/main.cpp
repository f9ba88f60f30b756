// ds-quantize: smaller weights.
#include "cli/app.h"
#include "quantize/quantize.h"

int main(int argc, char** argv) {
  using namespace ds;
  App app("ds-quantize", "Quantize a model folder to 4 bits in the layout that transformers and vLLM load.");
  QuantizeOptions options;
  Options declared = app.verb("", "quantize a model folder",
                              {"ds-quantize MODEL --calibration text.jsonl -o MODEL-4bit",
                               "ds-quantize --method rtn --group-size 64 MODEL -o MODEL-4bit"},
                              [&options](const CommonOptions& common, Report& report) {
                                options.seed = common.seed;
                                quantize(options, report);
                                return 0;
                              });
  declared.option("MODEL", options.model, "model folder to read", "DIR").required()
      .option("-o,--output", options.output, "model folder to write; it must not exist", "DIR").required()
      .choice("--method", options.method, {"awq", "rtn"}, "awq: activation-aware scales and clipping; rtn: rounding to nearest");
  declared.group("Format")
      .option("--bits", options.bits, "bits of a weight", "N")
      .option("--group-size", options.group_size, "inputs that share a scale and a zero point", "N");
  declared.group("Calibration (awq)")
      .option("--calibration", options.calibration, "JSONL records with \"text\"; may be given several times", "FILE")
      .option("--calibration-samples", options.calibration_samples, "rows of tokens taken at most; ids are held in memory, 4 bytes a token", "N")
      .option("--calibration-length", options.calibration_length, "tokens of a row", "TOKENS");
  return app.run(argc, argv);
}
