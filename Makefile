# Thin: each target is one command. Extra words for it go into ARGS, e.g. make test ARGS=-x
.DEFAULT_GOAL := help
.NOTPARALLEL:
UV := .ci/uv
RUN := $(UV) run --no-sync
ARGS ?=
# The scenarios also wait: more workers than processors.
WORKERS ?= 6

# The workers and the bots that tests start would each compile the same modules again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## what can be made
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 12

.PHONY: setup
setup: ## everything Python needs, into .venv (uv too, into .uv, where it is missing)
	@$(UV) sync --frozen --all-extras --quiet

.PHONY: packages
packages:
	@.ci/system-packages

.PHONY: demo
demo: setup ## the whole bot between a simulated Slack and a simulated Dokku, in a browser
	$(RUN) deploybot demo $(ARGS)

.PHONY: test
test: packages setup ## all checks and all tests
# The tests wait for much of their time: the checks run beside them.
# Collecting once compiles all tests: workers that start together would each do it.
	@$(MAKE) --no-print-directory check & checks=$$!; \
	$(RUN) pytest --collect-only --quiet >/dev/null 2>&1; \
	$(RUN) pytest -n $(WORKERS) --dist worksteal $(ARGS); tests=$$?; \
	wait $$checks || { echo "make check failed: see above" >&2; exit 1; }; \
	exit $$tests

.PHONY: unit
unit: setup ## the quick tests, in a minute; needs nothing but Python
	$(RUN) pytest -n 4 --dist worksteal -m "not slow and not browser" --installed-only tests/unit tests/verdicts tests/builders $(ARGS)

.PHONY: scenarios
scenarios: packages setup ## only the tests of the whole bot
	$(RUN) pytest -n $(WORKERS) --dist worksteal tests/scenarios $(ARGS)

.PHONY: check
check: setup lint types ## formatting, lint, types, import contracts, dependencies

.PHONY: lint
lint: setup ## formatting, ruff, import contracts, dependencies; changes nothing
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) lint-imports
	$(RUN) deptry .

.PHONY: types
types: setup ## mypy, strict
	$(RUN) mypy

.PHONY: fmt
fmt: setup ## formatting and the lint fixes that are safe
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

.PHONY: truth
truth: setup ## random deployments and faults, each end held against what was really live
	$(RUN) python -m tests.truth $(ARGS)

.PHONY: kills
kills: setup ## random deaths of the bot by kill -9; afterwards nothing is lost, doubled or untrue
	$(RUN) python -m tests.kills $(ARGS)

.PHONY: release
release: setup ## wheel and sdist, into dist/; each is tried in an empty environment, the image with Docker
	rm -rf dist
	$(UV) build --quiet
	.ci/try-release
	.ci/try-image

.PHONY: publish
publish: ## attach dist/ to the release of the pushed tag, with gh; the release workflow does it
	.ci/publish

.PHONY: docs
docs: setup ## write what is made from the code: docs/configuration.md, metrics, manifest.yml
	$(RUN) python -m tools.docs.pages

.PHONY: audit
audit: setup ## bandit, and known vulnerabilities of the locked dependencies; asks the internet
	$(UV) tool run bandit==1.9.4 --quiet --recursive --configfile pyproject.toml bot
	@mkdir -p build
	$(UV) export --quiet --no-dev --all-extras --no-emit-project --output-file build/requirements.txt
	$(UV) tool run pip-audit==2.10.1 --require-hashes --disable-pip --requirement build/requirements.txt

.PHONY: licences
licences: setup ## the licence of each package that the bot installs
	@$(RUN) python -m tools.licences

.PHONY: sbom
sbom: ## the bill of materials of a release, as CycloneDX: dist/sbom.json
	@mkdir -p dist
	$(UV) export --quiet --locked --no-dev --all-extras --no-emit-project --format cyclonedx1.5 --output-file dist/sbom.json

.PHONY: screenshots
screenshots: packages setup ## write docs/pictures from the demo in Chromium; all, or those named in ARGS
	$(RUN) python -m tools.docs.pictures $(ARGS)

.PHONY: revision
revision: setup ## write a migration from bot/store/tables.py: make revision M="add a column"
	$(RUN) python -m tools.revision "$(M)"
	$(RUN) ruff format bot/store/migrations

.PHONY: bench
bench: setup ## the figures of docs/operations.md, as JSON; never part of the tests
	@$(RUN) python -m benches $(ARGS)

.PHONY: mutants
mutants: setup ## every mutant of the rules must be killed
	$(RUN) mutmut run $(ARGS)
	$(RUN) mutmut results
	@! $(RUN) mutmut results | grep -qE ': (survived|no tests|suspicious)$$'
