# Everything that is done with this project by hand or by CI. `make` alone prints the targets.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/

.DEFAULT_GOAL := help
.PHONY: help setup demo test interop power-cut killed board-test attack fuzz lint bench serve flash package package-json release clean

help: ## Print these lines
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

setup: $(READY) ## Make the virtual environment in .venv (the other targets do it by themselves)

$(READY): requirements.lock pyproject.toml host/make-venv.sh
	@PYTHON="$(PYTHON)" sh host/make-venv.sh $(VENV)

demo: $(READY) ## Watch a virtual board update itself from an FTP server
	@$(RUN)otalink demo

test: $(READY) ## Run every test, three at a time; a missing micropython is a failure
	@$(RUN)pytest -n 3 --dist worksteal $(ARGS)

interop: $(READY) ## Test with vsftpd, ProFTPD, Pure-FTPd, curl and lftp (run tests/interop/setup before), as root
	@$(if $(filter-out 0,$(shell id -u)),sudo )$(RUN)pytest -n 2 --dist worksteal tests/interop $(ARGS)

power-cut: $(READY) ## Cut the power in every flash operation of an update, and again in the boots after it
	@$(RUN)python tests/power_cut $(ARGS)

killed: $(READY) ## Kill a virtual board at random moments of real updates, for SECONDS (300)
	@OTALINK_KILLED_SECONDS=$(or $(SECONDS),300) $(RUN)pytest -s tests/end_to_end/test_killed.py $(ARGS)

board-test: $(READY) ## Test the board on PORT (or the one that is connected, or PORT=virtual); it is overwritten
	@$(RUN)python tests/board $(if $(PORT),--port $(PORT)) $(ARGS)

attack: $(READY) ## Attack `otalink serve` as the tests do, with ten thousand half-open logins
	@OTALINK_HALF_OPEN=10000 $(RUN)pytest tests/host/test_hostile.py $(ARGS)

fuzz: $(READY) ## Fuzz the frame decoder and FTP sessions (or TARGET=frame, ftp), each for SECONDS (60)
	@$(RUN)python tests/fuzz $(or $(SECONDS),60) $(TARGET)

lint: $(READY) ## Run ruff and mypy, and refuse modules that no board has
	@$(RUN)ruff check .
	@$(RUN)ruff format --check .
	@$(RUN)python host/lint_boards.py
	@$(RUN)mypy

bench: $(READY) ## Measure speed and memory; prints tables
	@$(RUN)python -m bench $(ARGS)

serve: $(READY) ## Serve releases as ./otalink.toml says (make one with: .venv/bin/otalink init)
	@$(RUN)otalink serve $(ARGS)

flash: $(READY) ## Put otalink and an application on a board: make flash APP=folder [BOARD=ESP32_GENERIC] [PORT=…]
	@$(RUN)otalink flash $(APP) $(if $(BOARD),--board $(BOARD)) $(if $(PORT),--port $(PORT)) $(ARGS)

release: $(READY) ## Test, build and publish an application: make release APP=thermostat VERSION=1.0.0.3 TEST="…"
	@$(RUN)otalink release make "$(or $(APP),$(error name its folder: make release APP=… VERSION=…))" \
		--name "$(notdir $(patsubst %/,%,$(APP)))" --version "$(or $(VERSION),$(error give it: VERSION=…))" \
		$(if $(TEST),--test '$(TEST)') $(ARGS)

package: $(READY) ## Build the distributions in dist/, install that wheel in an empty environment, run its demo
	@$(RUN)python host/package.py dist

package-json: $(READY) ## Write firmware/package.json and the guard's, which mip reads, anew
	@$(RUN)python host/make_package.py

clean: ## Remove the virtual environment and what the tools left
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
