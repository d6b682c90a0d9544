# Every target sets itself up: a Python of 3.11 to 3.13, make and a package index are all it takes.
#   make demo      run the main job, offline (STORE=redis://host:6379/0: its tenant budget on that Redis)
#   make test      all tests, then those that meet the graph libraries with the oldest of these and on the newest Python
#   make versions  every test with the oldest versions that are supported, and on the newest Python
#   make check     format, lint, types, architecture, then the tests
#   make soak      what takes long: 200 killed processes, 2,000 made-up graphs, a million operations on ledgers, properties with many examples
#   make bench     overhead of governor, without a provider (JSON=file writes its figures)
#   make bench-loops   loop detectors on labelled runs (CORPUS=dir, JSON=file)
#   make bench-context   cost of compaction and caching on recorded runs (CORPUS=dir, JSON=file)
#   make bench-context-wire   the same replay through real clients, held against the sandbox's bill (CORPUS=dir, RUNS=30, JSON=file)
#   make bench-routing   which tier answers, on recorded outcomes and steps (CORPUS=dir, JSON=file)
#   make bench-ledger   budgets under fan-out, broken streams, latency of the stores, beside peers (JSON=file, ARGS="--only latency")
#   make conformance   LangGraph's own test suites, bare and with every graph governed; downloads them, takes a quarter of an hour (JSON=file)

VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Enough to run governor; the demo waits for no linter, type checker or test tool.
BASE := $(VENV)/.base

# The first interpreter that is new enough *and* answers: a pyenv shim can be on PATH and still run nothing.
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3 python; do \
	"$$python" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1 && { echo "$$python"; break; }; done)
WANTED = -c constraints.txt -e ".[$(1)]"
# uv is faster when it is there; pip is always there, and knows an index that only pip was told of.
UV := $(shell command -v uv 2>/dev/null)
# Byte code is made when it is first needed: most of what the packages hold is never imported.
INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(PY) $(WANTED) ||) $(PY) -m pip install --quiet --disable-pip-version-check --no-compile $(WANTED)

# One worker more than there are processors: some tests wait for processes that they start. A file's tests stay together, so a module's
# fixtures are made once; files that take longest begin first (tests/conftest.py).
WORKERS ?= $(shell expr $$(nproc 2>/dev/null || echo 1) + 1)
PYTEST = $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --inline-snapshot=disable

comma := ,

.PHONY: demo test versions check soak bench bench-context bench-context-wire bench-ledger bench-loops bench-routing conformance redis clean
.DEFAULT_GOAL := check

demo: $(BASE)
	$(VENV)/bin/governor demo $(if $(STORE),--store "$(STORE)")

test: $(READY) redis
	$(PYTEST) $(ARGS)
	$(if $(ARGS),,$(PY) scripts/versions.py --quick)

versions: $(READY) redis
	$(PY) scripts/versions.py

check: $(READY) redis
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(VENV)/bin/pyright --pythonpath $(PY)
	$(VENV)/bin/lint-imports
	$(PYTEST) $(ARGS)

soak: $(READY) redis
	KILLS=200 HYPOTHESIS_PROFILE=soak $(PYTEST) -o faulthandler_timeout=7200 $(or $(ARGS),tests/langgraph/test_kill.py tests/langgraph/test_kill_summary.py tests/stores)
	$(if $(ARGS),,WHOLE=1 $(PYTEST) tests/langgraph/test_matrix.py tests/langgraph/test_stop_matrix.py tests/langgraph/test_halts.py)
	$(if $(ARGS),,$(PY) -m tests.soak.generated)
	$(if $(ARGS),,$(PY) -m tests.soak.ledgers)

bench: $(READY)
	$(PY) -m tests.bench.overhead $(if $(JSON),--json "$(JSON)")
	$(PY) -m tests.bench.longrun $(if $(JSON),--json "$(JSON).longrun")

bench-loops: $(READY)
	@test -n "$(CORPUS)" || { echo "name the folder of labelled runs: make bench-loops CORPUS=dir" >&2; exit 1; }
	$(PY) -m tests.bench.loops --corpus "$(CORPUS)" $(if $(JSON),--json "$(JSON)")

# OpenAI's tokenizer comes as a file of this package, which is unpacked and never imported; without it a plain rule counts, and the output says so.
bench-context: $(READY)
	@test -n "$(CORPUS)" || { echo "name the folder of recorded runs: make bench-context CORPUS=dir" >&2; exit 1; }
	@test -d .venv-tokens || $(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target .venv-tokens llama-index-core==0.14.25 || true
	$(PY) -m tests.bench.context --corpus "$(CORPUS)" $(if $(JSON),--json "$(JSON)") $(ARGS)

bench-context-wire: $(READY)
	@test -n "$(CORPUS)" || { echo "name the folder of recorded runs: make bench-context-wire CORPUS=dir" >&2; exit 1; }
	$(PY) -m tests.bench.context.wire --corpus "$(CORPUS)" --runs $(or $(RUNS),30) $(if $(JSON),--json "$(JSON)") $(ARGS)

# The replay of recorded steps is a second part; JSON=x.json writes its figures to x.replay.json.
bench-routing: $(READY)
	@test -n "$(CORPUS)" || { echo "name the folder of recorded outcomes: make bench-routing CORPUS=dir" >&2; exit 1; }
	$(PY) -m tests.bench.routing --corpus "$(CORPUS)" $(if $(JSON),--json "$(JSON)") $(ARGS)
	@test ! -e tests/bench/routing_replay || $(PY) -m tests.bench.routing_replay --corpus "$(CORPUS)" $(if $(JSON),--json "$(JSON:.json=).replay.json")

bench-ledger: $(READY) redis
	$(PY) -m tests.bench.ledger $(if $(JSON),--json "$(JSON)") $(ARGS)

# Sets itself up in .venv-conformance with nothing but the interpreter.
conformance:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer with the venv module found: make PYTHON=/path/to/python3 conformance" >&2; exit 1; }
	$(PYTHON) -m tests.conformance $(if $(JSON),--json "$(JSON)") $(ARGS)

# Tests on a real Redis are skipped without one.
redis:
	@scripts/redis-server

$(BASE): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "governor needs Python 3.11, 3.12 or 3.13 with the venv module: none found. Install one, or: make PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(call INSTALL,all)
	@touch $@

$(READY): $(BASE)
	$(call INSTALL,all$(comma)dev)
	@# Before the tests, whose warnings are errors: what a package's own source is warned about is not ours.
	@$(PY) -W ignore -m compileall -q -j 0 $(VENV)/lib || true
	@touch $@

clean:
	rm -rf $(VENV) .venv-conformance .venv-peers .venv-tokens .venv-oldest .venv-newest-python build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
