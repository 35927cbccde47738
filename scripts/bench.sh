#!/usr/bin/env bash
# bench.sh PEERS PAIRS WRITE [SELECTION…]: builds the Swift side of the benchmark and runs benchmarks/bench.py in .venv. PEERS: a Python with
# torch, or empty. PAIRS: rounds of turns. WRITE: when not empty, tables and figures go into the documentation.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

peers=$1 pairs=$2 write=$3
shift 3
scratch=build/bench/swift
discard_when_header_changed "$scratch"
quietly bench-swift "Building the Swift side of the benchmark (minutes, the first time)" \
  swift build -c release --package-path benchmarks/swift -Xswiftc -static-stdlib --scratch-path "$scratch"

arguments=(--pairs "$pairs")
if [ -n "$peers" ]; then arguments+=(--peers "$peers"); fi
if [ -n "$write" ]; then arguments+=(--write); fi
exec .venv/bin/python benchmarks/bench.py "${arguments[@]}" "$@"
