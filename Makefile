# Copyright 2026 nanovlm_ros contributors
# SPDX-License-Identifier: Apache-2.0
#
# make demo    set up .venv, build, and ask the node questions about a recorded drive
# make test    the whole test suite, real DDS included
# make clean   remove everything that was made here
#
# Needs Python >= 3.10 (PYTHON=python3.12 chooses one) and a C/C++ compiler; no ROS.

PYTHON ?= python3
# Ends a hang: the suite takes about ten minutes on two cores.
TEST_SECONDS ?= 1800

READY := .venv/.ready
INTERFACES := $(wildcard msg/*.msg srv/*.srv action/*.action)
BUILD_FILES := CMakeLists.txt package.xml pyproject.toml setup.py

# The environment below .venv is complete; a sourced ROS would mix into it.
unexport AMENT_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH RMW_IMPLEMENTATION
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := demo
.PHONY: demo test clean

demo: $(READY)
	@.venv/bin/python -m demo.run

test: $(READY)
	@OMP_NUM_THREADS=1 timeout --signal=INT --kill-after=20 $(TEST_SECONDS) \
		.venv/bin/python -m pytest -q --durations=10

clean:
	rm -rf .venv build install log nanovlm_ros.egg-info .pytest_cache demo/answers.png
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first and alone: what needs torch must find the tested build of it already there.
$(READY): requirements.lock $(BUILD_FILES) $(INTERFACES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
		f"Python 3.10 or newer is needed; {sys.executable} is {sys.version.split()[0]}.")'
	@echo 'Setting up .venv; the first time takes some minutes.'
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@.venv/bin/python -m pip install -q $$(grep '^torch==' requirements.lock)
	@.venv/bin/python -m pip install -q -r requirements.lock
	@.venv/bin/python -m pip install -q --no-deps --no-build-isolation -e .
	@touch $@
