# shellcheck shell=bash
# Sourced. Finds the Python that the virtual environment is made with.

# Prints the first Python >= 3.10 that can make a virtual environment; PYTHON in the environment comes first. What PATH calls
# python3 may be too old or a shim for a version that is not installed, so several are tried.
python_with_venv() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python3.10 \
    /usr/bin/python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' \
      >/dev/null 2>&1; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return 0
    fi
  done
  return 1
}
