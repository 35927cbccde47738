#!/usr/bin/env bash
# install-python.sh demo | test: makes .venv when it is not there and installs the Python package into it, with the built
# library inside and what the demo, or the tests and examples too, need from the package's extras.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source scripts/python.sh

purpose=${1:?usage: install-python.sh demo | test}
tools=()
case $purpose in
  demo) extras=plot,progress ;;
  test)
    extras=plot,progress,test
    tools=(ruff)
    ;;
  *) fail "install-python.sh knows 'demo' and 'test', not '$purpose'." ;;
esac

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  rm -rf .venv
  python=$(python_with_venv) || fail "No Python 3.10 or newer with the module venv was found; set PYTHON to one."
  quietly venv "Creating .venv with $("$python" --version)" "$python" -m venv .venv
fi

export DYNAMOE_LIBRARY="$PWD/$library/libdynamoe.so"
quietly "pip-$purpose" "Installing the Python package and its dependencies" \
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
  "./bindings/python[$extras]" "${tools[@]}" ||
  fail "pip could not install the package (no network?)."
touch ".venv/stamp-$purpose"
if [ "$purpose" = test ]; then
  touch .venv/stamp-demo
fi
