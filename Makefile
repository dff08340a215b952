# Needs only make and a Python >= 3.11 with pip and venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
MEMBERS := shared services/agent services/attestor services/gateway services/manager cli

.PHONY: setup system-deps infra-tools libvirt demo test hostile chaos examples image lint lock bench bench-scale clean

setup: $(STAMP) examples/iris/build/train.wasm examples/iris/build/infer.wasm

$(STAMP): requirements/dev.txt pyproject.toml $(wildcard */pyproject.toml services/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: $(PYTHON) is older than 3.11; hint: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-index \
	  --no-build-isolation $(addprefix -e ,$(MEMBERS))
	@touch $@

examples/iris/build/%.wasm: examples/iris/%.c examples/iris/*.h examples/build.py $(STAMP)
	$(BIN)/python examples/build.py iris/$*.wasm

# What the sandbox of native code and of images runs on, and virtual machines. Installed where that is
# possible without asking (root on Debian 12 or 13); elsewhere said. A missing one is a skip at a desk,
# not in CI. Each as the program, or else the file below /usr, that says that its package is there.
SYSTEM_DEPS := bwrap:bubblewrap dockerd:docker.io qemu-system-x86_64:qemu-system-x86 \
  libvirtd:libvirt-daemon-system lib/*/libvirt/connection-driver/libvirt_driver_qemu.so:libvirt-daemon-driver-qemu \
  include/libvirt/libvirt.h:libvirt-dev pkg-config:pkg-config gcc:gcc xmllint:libxml2-utils \
  swtpm:swtpm swtpm_setup:swtpm-tools share/ovmf/OVMF.fd:ovmf systemd-analyze:systemd

system-deps:
	@missing=; for dep in $(SYSTEM_DEPS); do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v "$${dep%%:*}" >/dev/null || ls /usr/$${dep%%:*} >/dev/null 2>&1 \
	  || missing="$$missing $${dep#*:}"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $$missing >/dev/null; } \
	  || echo "warning: could not install$$missing; tests that need it are skipped" >&2; \
	else echo "hint: as root: apt-get install --no-install-recommends$$missing" >&2; fi

# Helm as a library, schemas of Kubernetes and Compose: 100 MB, so only tests get them. There are no
# wheels for every machine; a missing one is as above.
INFRA_STAMP := $(VENV)/.infra

infra-tools: $(INFRA_STAMP)

$(INFRA_STAMP): requirements/infra.txt $(STAMP)
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/infra.txt; \
	then touch $@; else echo "warning: could not install requirements/infra.txt; tests of infra/ are skipped" >&2; fi

# What tests of the driver libvirt need beyond that: the binding, and the schemas of a libvirt that knows
# SEV-SNP and TDX. Setup does without both.
libvirt: setup system-deps
	@sh tests/libvirt_setup.sh $(BIN) || echo "warning: tests that need libvirt are skipped" >&2

demo: setup
	@$(BIN)/atoll demo

test: setup system-deps infra-tools libvirt
	@$(BIN)/python tests/run.py

hostile: setup system-deps
	@$(BIN)/python tests/hostile/run.py

# `make chaos JOBS=2000 KILLS=200 SEED=1`; without SEED a new one, which is printed.
JOBS ?= 500
KILLS ?= 100
SEED ?=

chaos: setup
	@$(BIN)/python tests/chaos/run.py --jobs $(JOBS) --kills $(KILLS) $(if $(SEED),--seed $(SEED))

# What is built here is kept in examples/*/build; the first time takes a minute, and scikit-learn's wheels.
examples: setup system-deps
	@$(BIN)/python examples/build.py || echo "warning: the examples that were not built will fail" >&2
	@$(BIN)/python examples/run.py

# Standard output is one line of JSON: the digests of what was built.
IMAGE ?= dist/image

image:
	@$(MAKE) --no-print-directory $(STAMP) >&2
	@$(BIN)/atoll image build --out $(IMAGE)

lint: setup
	@$(BIN)/python tests/run.py --lint-only

bench: setup
	@$(BIN)/python bench/run.py

# Up to 1,000 hosts and 100,000 stored jobs: half an hour on two cores.
bench-scale: setup
	@$(BIN)/python bench/run.py fleet ledger

# The locks name versions and hashes, never where they came from.
COMPILE := $(BIN)/uv pip compile --universal --generate-hashes --no-header --no-emit-index-url \
	  --python-version 3.11 --no-annotate

lock: $(STAMP)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) -o requirements/dev.txt requirements/dev.in
	$(COMPILE) -c requirements/dev.txt -o requirements/infra.txt requirements/infra.in
	$(COMPILE) -o requirements/libvirt.txt requirements/libvirt.in
	$(COMPILE) --fork-strategy fewest -o examples/logistic/requirements.txt examples/logistic/requirements.in

clean:
	rm -rf $(VENV) examples/*/build
