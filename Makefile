# `make` prints the targets. Each one does its own set-up, and does it once.

SETUP_PACKAGES := python3-venv python3-dev gcc libc6-dev libcap-dev libseccomp2 make nftables
FIXTURE_PACKAGES := busybox-static mmdebstrap skopeo umoci xz-utils zstd
TEST_PACKAGES := apache2-utils attr bind9-dnsutils bubblewrap docker-registry e2fsprogs fish golang-github-opencontainers-image-spec-dev \
                 iproute2 libcap2-bin openssl passt podman runc slirp4netns strace uidmap zsh
BENCH_PACKAGES := bubblewrap busybox-static crun docker.io e2fsprogs iperf3 podman runc skopeo umoci
VAGRANT_PACKAGES := dnsmasq-base extlinux fdisk libvirt-clients libvirt-daemon-system mmdebstrap qemu-system-x86 \
                    qemu-utils rsync syslinux-common vagrant vagrant-libvirt
VM_PACKAGES := apparmor busybox-static kmod qemu-system-common qemu-system-x86

PREFIX ?= /usr/local
VENV := .venv
RUN := $(VENV)/bin
SHELL := /bin/bash
MAKEFLAGS += --no-print-directory --no-builtin-rules
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-rootless check fixtures bench bench-start bench-warm bench-exec bench-live bench-load bench-commit bench-pack bench-network bench-inside bench-scale install uninstall clean \
        setup-packages fixture-packages test-packages bench-packages vagrant-packages vagrant-test vm-packages vm-test

# Without root: one sentence and status 1, before anything is done. A failing recipe or $(error) would make it status 2;
# --question makes it 1 and keeps make from running and saying more.
missing = $(filter-out $(shell dpkg-query -W -f '$${Package}=$${db:Status-Abbrev}\n' $(1) 2>/dev/null | sed -n 's/=.i *$$//p'),$(1))
needs_root = $(or $(filter demo test test-rootless fixtures vm-test bench bench-% install uninstall,$(MAKECMDGOALS)),\
                  $(and $(filter setup check,$(MAKECMDGOALS)),$(strip $(call missing,$(SETUP_PACKAGES)))))
ifneq ($(shell id -u),0)
ifneq ($(strip $(needs_root)),)
$(shell echo "make $(MAKECMDGOALS) needs root: run \`sudo make $(MAKECMDGOALS)\`" >&2)
MAKEFLAGS += --question
endif
endif

help: ## print this
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

# $(call install,packages): ask apt only when one is missing; a failing third-party source is apt's warning, not our end.
define install
@set -- $(strip $(call missing,$(1))); \
if [ $$# != 0 ]; then \
    command -v apt-get >/dev/null || { echo "this host has no apt-get: install by hand: $$*" >&2; exit 1; }; \
    echo "installing $$*"; log=$$(mktemp); export DEBIAN_FRONTEND=noninteractive; \
    apt-get -qq update >"$$log" 2>&1 || true; \
    apt-get -qq install --yes --no-install-recommends "$$@" >>"$$log" 2>&1 </dev/null \
        || { cat "$$log" >&2; rm "$$log"; exit 1; }; \
    rm "$$log"; \
fi
endef

setup-packages:
	$(call install,$(SETUP_PACKAGES))
fixture-packages:
	$(call install,$(FIXTURE_PACKAGES))
# Tests run registries of their own. Masked before it is there, the package's service does not start.
test-packages:
	@$(if $(strip $(call missing,docker-registry)),systemctl mask docker-registry.service >/dev/null 2>&1 || true)
	$(call install,$(TEST_PACKAGES))
# docker's daemon, too, is the benchmark's own.
bench-packages:
	@$(if $(strip $(call missing,docker.io)),systemctl mask docker.service docker.socket >/dev/null 2>&1 || true)
	$(call install,$(BENCH_PACKAGES))
vm-packages:
	$(call install,$(VM_PACKAGES))
vagrant-packages:
	$(call install,$(VAGRANT_PACKAGES))

# The distribution's own interpreter: 3.11, or the newest there is; never a pyenv shim, which costs 80 ms a start.
python = $(shell for python in /usr/bin/python3.11 $$(ls /usr/bin/python3.[0-9][0-9] 2>/dev/null | sort -rV); do \
    [ -x $$python ] && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$python && break; done)

HOT := minirun/hot.$(shell $(python) -c 'import sys; print(sys.implementation.cache_tag)').bin

setup: setup-packages $(VENV)/native.stamp $(RUN)/minirun $(RUN)/minirun-warm $(HOT) ## packages, .venv, the C parts, .venv/bin/minirun

$(VENV)/python.stamp: pyproject.toml
	@[ -n "$(python)" ] || { echo "no Python 3.11 or newer in /usr/bin" >&2; exit 1; }
	@echo "making $(VENV) from $(python)"
	@[ -x $(RUN)/pip ] || $(python) -m venv $(VENV)
	@$(RUN)/pip install -qq --disable-pip-version-check --use-pep517 -e '.[dev]'
	@touch $@

# The C parts alone, when only they changed: a second instead of pip's ten.
$(VENV)/native.stamp: $(VENV)/python.stamp setup.py $(wildcard minirun/*/*.[ch])
	@echo "compiling the C parts"
	@$(RUN)/python setup.py -q build_ext --inplace
	@touch $@

$(RUN)/minirun: minirun/launcher.in $(VENV)/python.stamp
	@sed -e 's#@PYTHON@#$(python)#' -e 's#@CHECKOUT@#$(CURDIR)#' \
	    -e "s#@SITE_PACKAGES@#$$($(RUN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')#" $< >$@.new
	@chmod 755 $@.new && mv $@.new $@

# The launcher that asks for a warm start first: docs/warm-start.md. Without a compiler it is the launcher with a line more.
$(RUN)/minirun-warm: $(RUN)/minirun $(VENV)/native.stamp
	@if [ -x minirun/launch/client ]; then cp minirun/launch/client $@.new; \
	else sed -e '/^from minirun import hot/i from minirun.resident import client\n\nclient.ask("$(CURDIR)/$<")' $< >$@.new; fi
	@chmod 755 $@.new && mv $@.new $@

fixtures: setup fixture-packages ## build the root file systems of rootfs-fixtures/ (out/)
	@rootfs-fixtures/build all

demo: setup fixture-packages ## run a container, write a file, see where it went, commit it, run the result
	@docs/demo.sh

check: setup ## ruff, mypy, the order of imports
	@$(RUN)/ruff check --quiet
	@$(RUN)/ruff format --check --quiet || { echo "run \`$(RUN)/ruff format\`" >&2; exit 1; }
	@$(RUN)/mypy --no-error-summary
	@$(RUN)/python -m pytest -q tests/unit/test_import_order.py

# Only status 1 says that tests failed; 2 is Ctrl-C, which ends all of it.
# Where MINIRUN_TEST_GUEST is set (to the kernel's series, 6.1) the first pytest runs tests/vm too: there is no guest in a guest.
test: setup test-packages fixtures check ## check, then every test, those of tests/vm in a guest
	@$(RUN)/python -m pytest -q --durations=10 --lanes auto tests || \
	    { status=$$?; [ $$status = 1 ] || exit $$status; \
	      echo "once more, by themselves, those that failed: what fails twice fails" >&2; \
	      $(RUN)/python -m pytest -q --last-failed --last-failed-no-failures=none tests; }
	@$(if $(MINIRUN_TEST_GUEST),,. /etc/os-release; if [ "$$VERSION_CODENAME" = bookworm ]; then $(MAKE) vm-test || $(MAKE) vm-test; \
	    else echo "tests/vm was not run: its guest is made of Debian 12's packages (docs/vm.md)"; fi)

# VM_TESTS=tests/integration/test_run.py runs others there, VM_KERNEL=6.1 on an older kernel: docs/vm.md. A test that takes
# VM_TEST_S seconds hangs: it says where, and ends the guest.
VM_KERNEL ?= 6.12
VM_TESTS ?= tests/vm
VM_TEST_S ?= 240
vm-test: setup vm-packages fixtures ## the tests that need every cgroup controller, in an emulated guest
	@$(RUN)/python -m tests.vm.guest --kernel $(VM_KERNEL) $(RUN)/python -m pytest -q --durations=10 -p no:cacheprovider \
	    -o faulthandler_timeout=$(VM_TEST_S) -o faulthandler_exit_on_timeout=true $(VM_TESTS)

# Takes many times as long as `make test` and so is no part of it. MINIRUN_BOX=local builds the box here: docs/vm.md.
test-rootless: setup test-packages fixtures ## the integration tests that can be, with minirun run by an ordinary user
	@MINIRUN_TEST_ROOTLESS=1 $(RUN)/python -m pytest -q --lanes auto tests/integration

vagrant-test: vagrant-packages $(if $(filter local,$(MINIRUN_BOX)),fixtures) ## the tests, in a virtual machine with Linux 6.1
	@$(if $(filter local,$(MINIRUN_BOX)),vagrant/local) vagrant/test

bench: setup fixtures bench-packages ## compare with runc, podman and umoci, interleaved
	@bench/run

bench-start bench-warm bench-exec bench-live bench-load bench-commit bench-pack bench-network bench-inside bench-scale: setup fixtures bench-packages
	@bench/run $(@:bench-%=%)

# What `minirun run` imports, in one file that is read at once; used only while no source is newer (see minirun/hot.py).
$(HOT): $(VENV)/native.stamp $(wildcard minirun/*.py minirun/*/*.py)
	@cd minirun/.. && $(python) -I -S -X no_debug_ranges -c 'import sys; sys.path += ["$(CURDIR)"]; from minirun import hot; hot.build()'

install: setup ## put a launcher of this checkout at $(PREFIX)/bin/minirun
	@mkdir -p $(DESTDIR)$(PREFIX)/bin && ln -sfn $(CURDIR)/$(RUN)/minirun-warm $(DESTDIR)$(PREFIX)/bin/minirun

uninstall: ## remove that launcher
	@rm -f $(DESTDIR)$(PREFIX)/bin/minirun

clean: ## remove what the other targets made here
	@rm -rf $(VENV) build *.egg-info minirun/*/_*.so minirun/launch/{stub,keeper,client} rootfs-fixtures/out
	@rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	@[ ! -w /var/lib ] || rm -rf --one-file-system /var/lib/minirun-demo /run/minirun-demo
	@find . -name __pycache__ -prune -exec rm -rf {} +
