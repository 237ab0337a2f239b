# make demo   export, verify, serve, classify, detect, measure, report
# make test   all tests        make check   lint, types, architecture
# make setup  the environment alone, in .venv
# make environments  also those with other builds of onnxruntime and with KServe, in .venv-*
# make examples  the clients in other languages, in build/examples
# make clients  the same, and each against a server
# make browser  Debian's Chromium, where CI is root
# make audit  what is known against the locked packages and crates; a bill of materials
# make trust  what hostile requests, overload, damaged messages and time do to a server; half an hour
# make peers [PEERS=mlserver]  other servers for crossrun-bench load, in build/peers

# uv is used where it is installed and brought along, in .uv, where it is not.
UV := $(or $(shell command -v uv),.uv/bin/uv)
BIN := .venv/bin

# uv does not read pip's settings: where pip is told of another index, tell uv too.
INDEX := $(or $(PIP_INDEX_URL),$(shell python3 -m pip config get global.index-url 2>/dev/null))
ifneq ($(INDEX),)
export UV_DEFAULT_INDEX ?= $(INDEX)
endif

# The Pythons that have TensorFlow and all that the tests need; uv finds one, and downloads none.
PYTHONS := >=3.11,<3.14
export UV_PYTHON_PREFERENCE := system
export UV_PYTHON_DOWNLOADS := never
define venv
@$(UV) python find --system '$(PYTHONS)' >/dev/null 2>&1 || { echo >&2 "needs Python 3.11, 3.12 or 3.13\
 for the export and the tests, found $$(python3 --version 2>&1): put one on the PATH, or let\
 '$(UV) python install 3.13' bring one; for the server alone: python3 -m pip install '.[cpu]'";\
 exit 1; }
$(UV) venv --quiet --clear --python '$(PYTHONS)'
endef

# Other builds of onnxruntime, each in an environment of its own, for tests and crossrun-bench.
BUILDS := openvino plugin

.PHONY: setup environments peers browser demo test examples clients check audit trust lock clean
setup: .venv/front
environments: setup $(BUILDS:%=.venv-%/front) .venv-kserve/ready

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet --disable-pip-version-check uv

SERVING_API := tests/environments/tensorflow-serving-api.txt
.venv/ready: requirements.lock $(SERVING_API) pyproject.toml | $(filter .uv/bin/uv,$(UV))
	$(venv) .venv
	$(UV) pip sync --quiet --require-hashes requirements.lock
	$(UV) pip install --quiet --no-deps --require-hashes --requirement $(SERVING_API)
	$(UV) pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

.venv-%/ready: tests/environments/%.lock pyproject.toml | $(filter .uv/bin/uv,$(UV))
	$(venv) .venv-$*
	$(UV) pip sync --quiet --require-hashes --python .venv-$*/bin/python $<
	$(UV) pip install --quiet --no-deps --no-build-isolation --python .venv-$*/bin/python --editable .
	touch $@

# KServe's own clients, for tests; they cannot share a process with Triton's.
.venv-kserve/ready: tests/environments/kserve.lock | $(filter .uv/bin/uv,$(UV))
	$(venv) .venv-kserve
	$(UV) pip sync --quiet --require-hashes --python .venv-kserve/bin/python $<
	touch $@

# The native front end: the same wheel for all environments, where cargo can build it.
RUST := $(shell find server/front -path '*/target' -prune -o -type f -print)
FRONT := server/front/with-cargo.sh
WHEELS := server/front/target/wheels

.venv/front: .venv/ready $(RUST)
	rm -rf $(WHEELS) && mkdir -p $(WHEELS)
	$(FRONT) $(CURDIR)/$(BIN)/maturin build --quiet --locked --release
	find $(WHEELS) -name '*.whl' -exec $(UV) pip install --quiet --no-deps --reinstall {} +
	touch $@

.venv-%/front: .venv-%/ready .venv/front
	find $(WHEELS) -name '*.whl' -exec $(UV) pip install --quiet --no-deps --reinstall \
		--python .venv-$*/bin/python {} +
	touch $@

# Other servers to measure beside ours, each in an environment of its own.
PEERS := mlserver kserve litserve rayserve triton
peers: $(PEERS:%=build/peers/%/ready)

build/peers/%/ready: bench/peers/%.txt | $(filter .uv/bin/uv,$(UV))
	$(venv) build/peers/$*
	$(UV) pip install --quiet --python build/peers/$*/bin/python --requirement $<
	touch $@

# Pictures to classify and to measure accuracy on; IMAGES=DIR takes photographs, DIR/WNID/*.JPEG.
IMAGES ?= build/pictures
# The series of pictures that the drawn detector was not trained on.
HELD_OUT := 1000003

# DETECTOR=DIR takes a detector of real objects instead of the drawn one: a SavedModel, or a folder
# that holds one, with labels.txt in it or beside it; PIXELS are those that it takes. PHOTOS=DIR, or
# IMAGES, are photographs to find objects in, with boxes in COCO's JSON or without.
DETECTOR ?=
PIXELS ?= 0..255
ifeq ($(DETECTOR),)
PHOTOS := build/scenes
SHOWN := $$(ls build/scenes/pictures/* | awk "NR % 20 == 1")
define detector
	$(BIN)/crossrun-export detector --output build/models
	$(BIN)/crossrun-export pictures build/scenes --objects several --count 100 \
		--seed $(HELD_OUT) --size 320
endef
else
PHOTOS ?= $(if $(filter file,$(origin IMAGES)),$(error DETECTOR=$(DETECTOR) needs PHOTOS=DIR, \
	photographs to find objects in),$(IMAGES))
SHOWN = $(PHOTOS)
GRAPH = $(or $(firstword $(wildcard $(addsuffix saved_model.pb,$(DETECTOR)/ $(DETECTOR)/*/))), \
	$(error $(DETECTOR): no saved_model.pb in it or in a folder of it))
LABELS = $(or $(firstword $(wildcard $(dir $(GRAPH))labels.txt $(dir $(GRAPH))../labels.txt)), \
	$(error no labels.txt in $(dir $(GRAPH)) or beside it))
define detector
	$(BIN)/crossrun-export saved-model $(dir $(GRAPH)) --labels $(LABELS) --pixels $(PIXELS) \
		--images $(PHOTOS) --name detector --output build/models
endef
endif

demo: setup
	rm -rf build && mkdir build
	$(BIN)/crossrun-export mobilenet --weights imagenet,bundled --output build/models
	$(detector)
	$(BIN)/crossrun-export pictures build/pictures --count 100
	$(BIN)/crossrun-serve build/models & trap "kill $$!; wait $$!" EXIT; \
		$(BIN)/crossrun-bench classify --model mobilenet --top-k 3 \
		$$(ls $(IMAGES)/*/* | awk "NR % 20 == 1") && \
		$(BIN)/crossrun-bench detect --model detector --save build/detected $(SHOWN)
	$(BIN)/crossrun-bench latency build/models --model mobilenet --batch 1,8 \
		--output build/latency.json
	$(BIN)/crossrun-bench accuracy build/models --model mobilenet --images $(IMAGES) \
		--output build/accuracy.json
	$(BIN)/crossrun-bench accuracy build/models --model detector --images $(PHOTOS) \
		--output build/detection.json
	$(BIN)/crossrun-bench report build/latency.json build/accuracy.json build/detection.json \
		--pictures build/detected --output build/report.html

examples: setup
	examples/build.sh

clients: examples
	$(BIN)/pytest -v --numprocesses 2 --dist worksteal tests/examples

# Debian's Chromium, in which the page is tested; CI installs it, elsewhere tests skip without it.
browser:
	@if command -v chromium > /dev/null; then :; \
	elif [ -n "$${CI:-}" ] && [ "$$(id -u)" = 0 ]; then apt-get update --quiet=2 && \
		DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --no-install-recommends \
		chromium fonts-dejavu-core > /dev/null; \
	else echo "chromium is not installed: tests of the page skip (apt-get install chromium)"; fi

test: environments examples browser
	$(FRONT) cargo test --quiet --locked --workspace --exclude crossrun-front
	$(BIN)/pytest --numprocesses 2 --dist worksteal

check: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	proto/check.sh
	$(FRONT) cargo fmt --all --check
	$(FRONT) cargo clippy --quiet --locked --workspace --all-targets -- --deny warnings
	@if command -v cargo-deny > /dev/null; then $(FRONT) cargo deny --log-level error check licenses bans sources; \
	else echo "cargo-deny is not installed: left out, and a test reads the crates' licences"; fi

# What a server withstands, in numbers: each script fails by itself if something is wrong.
TRUST := build/trust
REQUESTS := 1000000
trust: setup
	mkdir -p $(TRUST)
	$(BIN)/crossrun-export mobilenet --weights bundled --name small --output $(TRUST)/models
	$(BIN)/crossrun-export mobilenet --weights imagenet,bundled --output $(TRUST)/models
	$(BIN)/python bench/trust/hostile.py $(TRUST)/models --model small --output $(TRUST)/hostile.json
	$(BIN)/python bench/trust/overload.py $(TRUST)/models --model mobilenet --output $(TRUST)/overload.json
	$(BIN)/python bench/trust/endurance.py $(TRUST)/models --model small --requests $(REQUESTS) \
		--output $(TRUST)/endurance
	$(BIN)/python -m tests.fuzz --messages $(REQUESTS)

# Known vulnerabilities of what is locked, and a bill of materials in build/sbom.
audit: setup
	$(BIN)/python .ci/audit.py $(UV)

COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock"

lock: $(filter .uv/bin/uv,$(UV))
	$(COMPILE) --extra cpu --extra export --extra bench --extra openvino-runtime --extra litert \
		--extra otel --group dev \
		--output-file requirements.lock pyproject.toml
	$(COMPILE) --extra openvino --group build \
		--output-file tests/environments/openvino.lock pyproject.toml
	$(COMPILE) --extra cpu --extra openvino-plugin --group build \
		--output-file tests/environments/plugin.lock pyproject.toml
	$(COMPILE) --output-file tests/environments/kserve.lock tests/environments/kserve.in

clean:
	rm -rf .venv .venv-* .uv build
