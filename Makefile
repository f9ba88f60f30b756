# For the newcomer: make demo, make test, make install, make bench. (Makefile.inc is for your own experiments.)
BUILD ?= build
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local

.PHONY: all demo test sanitize sanitize-thread bench bench-clean bench-run install clean setup tools

all: tools

# Installs what is missing (packages.txt), once.
setup:
	@scripts/setup packages.txt

tools: setup
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release -DDS_TESTS=OFF -DDS_CUDA=OFF
	@cmake --build $(BUILD) --target tools -j $(JOBS)

# The whole pipeline on this machine's own documents; its page is examples/demo/out/report.html.
demo: tools
	@$(MAKE) --no-print-directory -C examples/demo DS=$(abspath $(BUILD))/ $(if $(MINUTES),MINUTES=$(MINUTES))

test: setup
	@cmake -S . -B $(BUILD)-test -G Ninja -DCMAKE_BUILD_TYPE=Release -DDS_TESTS=ON
	@cmake --build $(BUILD)-test -j $(JOBS)
	@ctest --test-dir $(BUILD)-test --output-on-failure -j $(JOBS)

# The matrix products next to OpenBLAS, which chooses its own kernels; one thread.
bench: setup
	@cmake -S . -B $(BUILD)-bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DDS_TESTS=OFF -DDS_CUDA=OFF -DDS_BENCH=ON
	@cmake --build $(BUILD)-bench --target bench_gemm -j $(JOBS)
	@env -u OPENBLAS_CORETYPE $(BUILD)-bench/bench/gemm

# ds-clean next to the tools it stands in for (bench/README.md). It needs python3-venv and the network, and some minutes.
bench-clean: setup
	@cmake -S . -B $(BUILD)-bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DDS_TESTS=OFF -DDS_CUDA=OFF -DDS_BENCH=ON
	@cmake --build $(BUILD)-bench --target ds-clean bench_clean_io -j $(JOBS)
	@python3 bench/clean.py $(if $(RUNS),--runs $(RUNS)) $(BUILD)-bench $(BUILD)-bench/corpus.jsonl

# Models next to llama.cpp and transformers (bench/README.md): make bench-run LLAMA_CPP=DIR PYTHON=VENV/bin/python
PYTHON ?= python3
bench-run: setup
	@test -n "$(LLAMA_CPP)" || { echo "make bench-run: say where llama.cpp is built: LLAMA_CPP=DIR" >&2; exit 2; }
	@cmake -S . -B $(BUILD)-bench -G Ninja -DCMAKE_BUILD_TYPE=Release -DDS_TESTS=OFF -DDS_CUDA=OFF -DDS_BENCH=ON
	@cmake --build $(BUILD)-bench --target ds-run bench_run -j $(JOBS)
	@$(PYTHON) bench/run_models.py --llama-cpp $(LLAMA_CPP) $(BUILD)-bench/models
	@$(PYTHON) bench/run.py $(if $(ROUNDS),--rounds $(ROUNDS)) --llama-cpp $(LLAMA_CPP) $(BUILD)-bench $(BUILD)-bench/models

# The parsers once more, under the address and undefined-behaviour sanitizers, the fuzz targets' seeds included.
PARSER_TESTS := base_test io_test text_test clean_test
sanitize: setup
	@cmake -S . -B $(BUILD)-sanitize -G Ninja -DCMAKE_BUILD_TYPE=Debug -DDS_SANITIZE=address,undefined -DDS_CUDA=OFF
	@cmake --build $(BUILD)-sanitize --target $(PARSER_TESTS) fuzz_targets -j $(JOBS)
	@ctest --test-dir $(BUILD)-sanitize --output-on-failure -j $(JOBS) -R '^(base|io|text|clean|fuzz.*)$$'

# What runs on several threads, under the thread sanitizer (some minutes; not part of the gate, as some kernels refuse it).
THREAD_TESTS := base_test io_test clean_test
sanitize-thread: setup
	@cmake -S . -B $(BUILD)-tsan -G Ninja -DCMAKE_BUILD_TYPE=Debug -DDS_SANITIZE=thread -DDS_CUDA=OFF
	@cmake --build $(BUILD)-tsan --target $(THREAD_TESTS) -j $(JOBS)
	@ctest --test-dir $(BUILD)-tsan --output-on-failure -R '^(base|io|clean)$$'

install: tools
	@cmake --install $(BUILD) --prefix $(PREFIX)

clean:
	rm -rf $(BUILD) $(BUILD)-test $(BUILD)-sanitize $(BUILD)-tsan $(BUILD)-bench
