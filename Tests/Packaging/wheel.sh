#!/usr/bin/env bash
# wheel.sh WHEEL: installs a wheel into a fresh environment and trains there, with the Swift toolchain, the libraries of Swift and
# BLAS and this checkout hidden. Needs a kernel that lets this user make mount namespaces.
# shellcheck source=scripts/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"
source scripts/python.sh

wheel=$(readlink -f "${1:?usage: wheel.sh WHEEL}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python=$(python_with_venv) || fail "No Python 3.10 or newer with the module venv was found; set PYTHON to one."

"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check --no-input "$wheel"
cp Tests/Packaging/train.py "$work"

# What PATH calls swift, where that really is, and every library that the loader would find.
hidden=("$PWD")
if swift=$(command -v swift); then
  hidden+=("$swift")
  toolchain=$(dirname "$(dirname "$(readlink -f "$swift")")")
  if [ "$toolchain" != /usr ]; then hidden+=("$toolchain"); fi
fi
mapfile -t libraries < <(PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | sed -n 's,.*=> \(/.*lib\(swift\|.*blas\)[^/]*\)$,\1,p' | xargs -r readlink -f | sort -u)
hidden+=("${libraries[@]}")

own=()
if [ "$(id -u)" -ne 0 ]; then own=(--map-root-user); fi
unshare "${own[@]}" --mount true ||
  fail "mount namespaces are not allowed here, so Swift cannot be hidden (in a container: run it with SYS_ADMIN)."
# shellcheck disable=SC2016 # the inner shell expands these
unshare "${own[@]}" --mount sh -euc '
  work=$1
  shift
  for path; do
    if [ -d "$path" ]; then mount -t tmpfs hidden "$path"; else mount --bind /dev/null "$path"; fi
  done
  cd "$work"
  exec env -i HOME="$work" PATH=/usr/bin:/bin venv/bin/python train.py' sh "$work" "${hidden[@]}"
