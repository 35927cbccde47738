"""Build hook: put libdynamoe.so inside the package and tag the wheel for this platform.

The library is the file named by ``DYNAMOE_LIBRARY``, otherwise it is built with Swift from the
checkout that encloses this folder, in a scratch folder of its own.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LIBRARY_NAME = "libdynamoe.so"
SCRATCH_NAME = ".build-python"


class BuildError(Exception):
    """The library cannot be provided; the message is for the person who builds."""


class LibraryBuildHook(BuildHookInterface):
    """Adds the native library to wheels and editable installs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version, build_data):
        """Find or build the library and tell the builder where it goes."""
        try:
            library = _named_library() or _built_library(Path(self.root))
        except BuildError as error:
            raise SystemExit(f"dynamoe: {error}") from None
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data["tag"] = f"py3-none-{platform}"
        build_data["pure_python"] = False
        if version == "editable":
            shutil.copyfile(library, Path(self.root) / "src" / "dynamoe" / LIBRARY_NAME)
        else:
            build_data["force_include"][str(library)] = f"dynamoe/{LIBRARY_NAME}"


def _named_library():
    """Return the file named by ``DYNAMOE_LIBRARY``, or None when it is not set."""
    name = os.environ.get("DYNAMOE_LIBRARY")
    if not name:
        return None
    path = Path(name).resolve()
    if not path.is_file():
        raise BuildError(f"DYNAMOE_LIBRARY names {name!r}, which is not a file.")
    return path


def _built_library(root):
    """Build the library from the checkout around `root` and return its path."""
    checkout = next((folder for folder in root.parents if _is_checkout(folder)), None)
    if checkout is None:
        raise BuildError(
            "no checkout of DynaMoE around this folder: build from a clone, or name a finished "
            f"{LIBRARY_NAME} in the environment variable DYNAMOE_LIBRARY."
        )
    swift = shutil.which("swift")
    if swift is None:
        raise BuildError(
            "Swift is missing: install a Swift toolchain, 6.2 or newer, from "
            "https://swift.org/install, or name a finished"
            f" {LIBRARY_NAME} in the environment variable DYNAMOE_LIBRARY."
        )
    command = [swift, "build", "-c", "release", "--product", "dynamoe"]
    command += ["-Xswiftc", "-static-stdlib", "--scratch-path", str(checkout / SCRATCH_NAME)]
    # Output goes to standard error: standard output belongs to the build front end.
    if subprocess.run(command, cwd=checkout, stdout=sys.stderr, check=False).returncode != 0:
        raise BuildError("the Swift build failed; the compiler's words are above.")
    library = checkout / SCRATCH_NAME / "release" / LIBRARY_NAME
    if not library.is_file():
        raise BuildError(f"the Swift build left no {library}.")
    return _stripped(library)


def _is_checkout(folder):
    return (folder / "Package.swift").is_file() and (folder / "Include/dynamoe.h").is_file()


def _stripped(library):
    """Return a copy without symbol tables where `strip` exists, which makes it much smaller."""
    strip = shutil.which("strip")
    if strip is None:
        return library
    folder = library.parent / "stripped"
    folder.mkdir(exist_ok=True)
    copy = folder / LIBRARY_NAME
    shutil.copyfile(library, copy)
    if subprocess.run([strip, "--strip-unneeded", str(copy)], check=False).returncode != 0:
        return library
    return copy
