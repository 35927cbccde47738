#!/usr/bin/env bash
# Checks for Swift, then installs what else is missing through apt: setup.sh build | test. Nothing is done when nothing is missing.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source scripts/python.sh

purpose=${1:-build}

[ "$(uname -sm)" = "Linux x86_64" ] ||
  fail "DynaMoE runs on Linux x86_64 so far; this machine is $(uname -sm)."

wanted="DynaMoE needs Swift 6.2 or newer: install it from https://www.swift.org/install/linux/ and put its usr/bin folder into PATH"
command -v swift >/dev/null || fail "Swift was not found. $wanted."
version=$(swift --version 2>&1) || fail "swift is in PATH but does not start: ${version%%$'\n'*}. $wanted."
if ! [[ $version =~ Swift\ version\ ([0-9]+)\.([0-9]+) ]]; then
  fail "'swift --version' says: ${version%%$'\n'*}. $wanted."
fi
if ((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] < 6002)); then
  fail "Swift ${BASH_REMATCH[1]}.${BASH_REMATCH[2]} is too old. $wanted."
fi

missing=()
need() { # need PACKAGE COMMAND…: the package is missing when the command fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
compiles() { # compiles COMPILER LANGUAGE HEADER: whether a program with that header builds and links
  printf '#include <%s>\nint main(void) { return 0; }\n' "$3" | "$1" -x "$2" - -o "$scratch/program"
}

need gcc compiles cc c stdlib.h
need libc6-dev compiles cc c stdlib.h
need g++ compiles c++ c++ vector # libstdc++ is also what the Swift runtime links with
need binutils readelf --version
need pkg-config pkg-config --version
if ! python_with_venv >/dev/null; then
  missing+=(python3 python3-venv)
fi
if [ "$purpose" = test ]; then
  need libopenblas0 bash -c "PATH=\$PATH:/sbin:/usr/sbin ldconfig -p | grep -q 'libopenblas\.so\.0 '"
fi
[ ${#missing[@]} -gt 0 ] || exit 0

list="${missing[*]}"
command -v apt-get >/dev/null ||
  fail "These packages are missing and there is no apt-get to install them: $list. Install their likes by hand."
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  as_root=(sudo)
else
  fail "These packages are missing and neither root nor sudo is at hand: ask for 'apt-get install $list'."
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o Dpkg::Use-Pty=0 \
    -o Acquire::Retries=3 "$@"
}
if [ ${#as_root[@]} -gt 0 ]; then
  sudo -v # asks for the password here, not behind a log
fi
quietly apt-update "Asking apt for its list of packages" apt update ||
  fail "apt-get update failed (no network?). Missing are: $list."
quietly apt-install "Installing $list" apt install --no-install-recommends "${missing[@]}" ||
  fail "apt-get could not install: $list."
python_with_venv >/dev/null ||
  fail "No Python 3.10 or newer with the module venv was found, even after installing python3-venv: set PYTHON to one."
