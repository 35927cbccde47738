# The words a user types; `make` alone explains them. The work is done by scripts/, which can be run by hand too.

DATA ?= digits
FOLDER ?=
EPOCHS ?=
FIGURE ?= build/demo.png
BENCH ?=
PEERS ?=
PAIRS ?= 21
WRITE ?=
BASE ?=
PREFIX ?= /usr/local
DESTDIR ?=

SHELL := /bin/bash
LIBRARY := .build-library/lib/libdynamoe.so
COMMAND := .build-command/bin/dynamoe
SOURCES := Package.swift $(shell find Sources Include -type f -not -path '*.docc/*')
PACKAGE := $(shell find bindings/python -type f -not -path '*/__pycache__/*' -not -path '*/dist/*' -not -name '*.so*')

# Machines may pin OpenBLAS to an old processor, which halves it.
unexport OPENBLAS_CORETYPE OPENBLAS_L2_SIZE

.PHONY: help demo test check-slow bench build command documentation wheel install format lint clean machine machine-test machine-slow
.NOTPARALLEL:

help:
	@echo 'DynaMoE: mixture-of-experts networks whose compute follows the input'
	@echo
	@echo '  make demo         train a classifier on handwritten digits and draw how it routed'
	@echo '                    DATA=digits|mnist|fashion_mnist FOLDER=(of the data) EPOCHS=5 FIGURE=figure.png'
	@echo '  make test         build everything and run all tests: Swift, C, Python, examples, documentation'
	@echo '  make build        libdynamoe.so in .build-library/lib, without any need of Swift at run time'
	@echo '  make command      the command line dynamoe in .build-command/bin, likewise'
	@echo '  make documentation'
	@echo '                    the reference of the Swift module in build/documentation: BASE=(path under which it is served)'
	@echo '  make bench        time it: PEERS=path/to/python (with torch) adds PyTorch, BENCH="W1 growth" chooses, PAIRS=21 rounds,'
	@echo '                    WRITE=1 puts tables and figures into README and docs'
	@echo '  make wheel        dist/: the Python wheel, for any Linux with glibc 2.34 or newer, and the sdist'
	@echo '  make install      library, header, pkg-config file, CMake package, command: PREFIX=/usr/local DESTDIR= COMMAND=(empty: none)'
	@echo '  make lint         check the style; make format corrects it'
	@echo '  make check-slow   sanitizers, valgrind, planted errors, browser, wheel, sdist, Swift package, ARM (most of an hour)'
	@echo '  make clean        remove everything that was built, .venv too'
	@echo
	@echo 'demo and test install what they miss on Debian or Ubuntu; only Swift 6.2 or newer must be there.'

demo: .venv/stamp-demo
	@scripts/demo.sh '$(DATA)' '$(FOLDER)' '$(EPOCHS)' '$(FIGURE)'

test: machine-test
	@scripts/test.sh

check-slow: machine-slow $(LIBRARY) .venv/stamp-demo
	@scripts/check-slow.sh

bench: $(LIBRARY) .venv/stamp-demo
	@scripts/bench.sh '$(PEERS)' '$(PAIRS)' '$(WRITE)' $(BENCH)

build: $(LIBRARY)
	@echo 'Built $(LIBRARY)'

command: $(COMMAND)
	@echo 'Built $(COMMAND)'

documentation: $(LIBRARY)
	@scripts/documentation.sh '$(BASE)'

wheel: $(LIBRARY) .venv/stamp-wheel
	@scripts/wheel.sh

install: $(LIBRARY) $(COMMAND)
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' COMMAND='$(COMMAND)' scripts/install.sh $(dir $(LIBRARY))

format: machine
	@scripts/lint.sh --fix

lint: machine
	@scripts/lint.sh

clean:
	rm -rf .build .build-* .venv build dist examples/swift/.build bindings/python/dist

machine:
	@scripts/setup.sh build

machine-test:
	@scripts/setup.sh test

machine-slow:
	@scripts/setup.sh slow

$(LIBRARY): $(SOURCES) scripts/build-library.sh | machine
	@scripts/build-library.sh

.build-command/bin/dynamoe: $(SOURCES) $(shell find CommandLine -type f -not -path '*/.build*' -not -name Package.resolved) scripts/build-command.sh | machine
	@scripts/build-command.sh

# NumPy, matplotlib and tqdm for the demo; the tests also take what stands in the package's other extras.
.venv/stamp-demo: $(LIBRARY) $(PACKAGE) scripts/install-python.sh
	@scripts/install-python.sh demo

.venv/stamp-test: $(LIBRARY) $(PACKAGE) scripts/install-python.sh
	@scripts/install-python.sh test

.venv/stamp-wheel: scripts/install-python.sh
	@scripts/install-python.sh wheel
