#!/usr/bin/env bash
# demo.sh DATA FOLDER EPOCHS FIGURE: runs the demo in .venv; empty means the demo's own default.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

arguments=(--data "${1:-digits}")
if [ -n "${2:-}" ]; then arguments+=(--folder "$2"); fi
if [ -n "${3:-}" ]; then arguments+=(--epochs "$3"); fi
if [ -n "${4:-}" ]; then
  mkdir -p "$(dirname "$4")"
  arguments+=(--figure "$4")
fi
exec .venv/bin/python examples/python/demo.py "${arguments[@]}"
