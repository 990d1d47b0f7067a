# The two commands that matter: `make run` and `make test`. Each does its own set-up.
# What they do stands in scripts/, one file a noun; this page only names them.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test check fmt lint doc deny web-check fuzz torture terraform bench image build install clean

# Where `make install` puts things, below DESTDIR.
PREFIX ?= /usr/local
DESTDIR ?=
# Settings of one's own for `make run`.
CONFIG ?=
UNIT_DIR ?= $(PREFIX)/lib/systemd/system
PROGRAMS = shellgate-gateway shellgate-bridge shellgate

help: ## Say what can be made
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: ## Set up, build and start a gateway for development, with CONFIG=file if given; prints the URL to open
	@CONFIG='$(CONFIG)' exec sh scripts/run.sh

test: ## Set up, build and run every test
	@exec sh scripts/test.sh

check: ## Formatting, lints, documentation, dependencies, then every test: what CI runs
	@exec sh scripts/check.sh

fmt: ## Format the Rust code
	@cargo fmt --all
	@cargo fmt --all --manifest-path fuzz/Cargo.toml

lint: ## Only the formatting and the lints of `make check`
	@exec sh scripts/check.sh formatting lints

doc: ## Only the documentation build of `make check`
	@exec sh scripts/check.sh documentation

deny: ## Only the dependency rules of `make check`
	@exec sh scripts/check.sh dependencies

fuzz: ## Only the fuzz targets, SECONDS_EACH=10 seconds each, from SEED=1
	@exec sh scripts/test.sh fuzz

torture: ## Break client, link and gateway 240 times at random, and count every byte
	@SHELLGATE_TORTURE_BREAKS=$${SHELLGATE_TORTURE_BREAKS:-240} exec sh scripts/test.sh torture

terraform: ## Check the AWS deployment, without AWS: form, plan, tests, permissions, policy
	@exec sh scripts/terraform.sh

bench: ## Measure the gateway beside a bare one, as ratios; some 30 minutes
	@exec sh scripts/bench.sh

image: ## Build the task image and the gateway image, and run them as they are run in production
	@exec sh scripts/image.sh

build: ## Build the page, the bridge, the gateway and the CLI as they are installed
	@exec sh scripts/build.sh

# What `make build` made, and nothing is built here: root has no Rust, and leaves no files in a user's tree.
install: ## Install what `make build` made under PREFIX=/usr/local, below DESTDIR
	@for program in $(PROGRAMS); do [ -x target/release/$$program ] || \
		{ echo "error: target/release/$$program is missing: run make build first, as yourself" >&2; exit 69; }; done
	for program in $(PROGRAMS); do install -D -m 0755 target/release/$$program $(DESTDIR)$(PREFIX)/bin/$$program || exit; done
	install -D -m 0644 -t $(DESTDIR)$(UNIT_DIR) packaging/shellgate-gateway.service packaging/shellgate-sandboxes.service
	sed -i 's|@PREFIX@|$(PREFIX)|g' $(DESTDIR)$(UNIT_DIR)/shellgate-gateway.service
	[ -e $(DESTDIR)/etc/shellgate/gateway.toml ] || \
		install -D -m 0640 packaging/gateway.toml $(DESTDIR)/etc/shellgate/gateway.toml

clean: ## Remove what was built; keeps .shellgate, where sessions and homes are
	rm -rf target fuzz/target fuzz/artifacts web/dist web/build web/node_modules .tools
