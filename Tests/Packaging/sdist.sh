#!/usr/bin/env bash
# sdist.sh SDIST: builds a wheel from an sdist in a fresh folder, with Swift and without a finished library, and trains with it. Without
# Swift the build must say what is missing; an sdist made from the unpacked one must hold the same.
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"

sdist=$(readlink -f "${1:?usage: sdist.sh SDIST}")
checkout=$PWD
unset DYNAMOE_LIBRARY
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

listed() { tar -tzf "$1" | sort -u; }
"$checkout/.venv/bin/python" -m venv venv
tar -xzf "$sdist"
"$checkout/.venv/bin/python" -m build --no-isolation --sdist --outdir again "$(basename "$sdist" .tar.gz)" >/dev/null
diff <(listed "$sdist") <(listed again/*.tar.gz) || fail "an sdist of the unpacked sdist holds something else."

mkdir tools # all of PATH but Swift
for folder in /usr/bin /bin; do
  for tool in "$folder"/*; do
    case ${tool##*/} in swift*) ;; *) ln -sf "$tool" tools/ ;; esac
  done
done
if PATH="$work/tools" venv/bin/pip wheel --no-deps --wheel-dir none "$sdist" >refused 2>&1 ||
  ! grep -q 'Swift is missing' refused; then
  cat refused
  fail "without Swift the build of the sdist does not say that Swift is missing."
fi

venv/bin/pip wheel --no-deps --wheel-dir wheels "$sdist"
cd "$checkout"
Tests/Packaging/wheel.sh "$work"/wheels/dynamoe-*.whl
