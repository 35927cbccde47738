#!/usr/bin/env bash
# setup.sh build | test | slow: checks for Swift, then installs through apt what else is missing. Does nothing when nothing is missing.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source scripts/python.sh

purpose=${1:-build}
wanted="DynaMoE needs Swift 6.2 or newer: install it from https://www.swift.org/install/linux/ and put its usr/bin folder into PATH"

check_swift_version() {
  local version
  version=$(swift --version 2>&1) || fail "swift is in PATH but does not start: ${version%%$'\n'*}. $wanted."
  [[ $version =~ Swift\ version\ ([0-9]+)\.([0-9]+) ]] ||
    fail "'swift --version' says: ${version%%$'\n'*}. $wanted."
  ((BASH_REMATCH[1] * 1000 + BASH_REMATCH[2] >= 6002)) ||
    fail "Swift ${BASH_REMATCH[1]}.${BASH_REMATCH[2]} is too old. $wanted."
}

# The packages of the libraries that the toolchain needs and this machine lacks.
missing_for_swift() {
  local folder tool library
  folder=$(dirname "$(readlink -f "$(command -v swift)")")
  for tool in swift-driver swift-build lld; do
    ldd "$folder/$tool" 2>/dev/null || true
  done | awk '/not found/ { print $1 }' | sort -u | while read -r library; do
    case $library in
      libncurses.so.6) echo libncurses6 ;;
      libsqlite3.so.0) echo libsqlite3-0 ;;
      libcurl.so.4) echo libcurl4 ;;
      libxml2.so.2) echo libxml2 ;;
      libedit.so.2) echo libedit2 ;;
      libz3.so.4) echo libz3-4 ;;
    esac
  done
}

case "$(uname -sm)" in
  "Linux x86_64") ;;
  "Linux aarch64") ;; # compiled for in the tests (Tests/Packaging/arm64.sh), but not tested on such a machine
  *) fail "DynaMoE runs on Linux x86_64, and builds on Linux aarch64; this machine is $(uname -sm)." ;;
esac
command -v swift >/dev/null || fail "Swift was not found. $wanted."

mapfile -t missing < <(missing_for_swift)
if [ ${#missing[@]} -eq 0 ]; then
  check_swift_version
fi

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
has_library() {
  PATH="$PATH:/sbin:/usr/sbin" ldconfig -p | grep -qF "$1 "
}

need gcc cc --version
need libc6-dev compiles cc c stdlib.h
need g++ compiles c++ c++ vector # the Swift runtime inside the library links with libstdc++
need binutils readelf --version
need pkg-config pkg-config --version
need git git --version # the Swift package manager calls it
if ! python_with_venv >/dev/null; then
  missing+=(python3 python3-venv)
fi
if [ "$purpose" != build ]; then
  need libopenblas0 has_library libopenblas.so.0
  need cmake cmake --version
fi
if [ "$purpose" = slow ]; then
  need valgrind valgrind --version
  if ! chromium --version >/dev/null 2>&1; then
    missing+=(chromium fonts-dejavu-core)
  fi
  if [ "$(uname -m)" = x86_64 ]; then
    need g++-aarch64-linux-gnu aarch64-linux-gnu-g++ --version
  fi
fi
[ ${#missing[@]} -gt 0 ] || exit 0

list="${missing[*]}"
command -v apt-get >/dev/null ||
  fail "These packages are missing and there is no apt-get to install them: $list. Install their likes by hand."
if [ "$(id -u)" -eq 0 ]; then
  as_root=()
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
  as_root=(sudo)
  sudo -v # asks for the password here, not behind a log
else
  fail "These packages are missing and neither root nor sudo is at hand: ask for 'apt-get install $list'."
fi

apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -y -qq -o Dpkg::Use-Pty=0 \
    -o Acquire::Retries=3 -o APT::Update::Error-Mode=any "$@"
}
quietly apt-update "Asking apt for its list of packages" apt update ||
  fail "apt-get update failed (no network?). Missing are: $list."
quietly apt-install "Installing $list" apt install --no-install-recommends "${missing[@]}" ||
  fail "apt-get could not install: $list."
check_swift_version
python_with_venv >/dev/null ||
  fail "No Python 3.10 or newer with the module venv was found, even after installing python3-venv: set PYTHON to one."
