"""Build hook: libdynamoe.so goes into wheels, the Swift sources it is built from into the sdist.

The library is the file named by ``DYNAMOE_LIBRARY``, otherwise it is built with Swift: from the
sources that the sdist carries in ``engine``, or from the checkout that encloses this folder.
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
ENGINE_NAME = "engine"  # folder of the Swift sources within the sdist
# The manifest names the tests too, and Swift refuses to build when their folders are missing.
ENGINE_SOURCES = (
    "Package.swift",
    "Include",
    "Sources",
    "Tests/DynaMoEKernelsTests",
    "Tests/DynaMoETests",
)


class BuildError(Exception):
    """The library cannot be provided; the message is for the person who builds."""


class LibraryBuildHook(BuildHookInterface):
    """Adds the native library to wheels and editable installs, and its sources to the sdist."""

    PLUGIN_NAME = "custom"

    def initialize(self, version, build_data):
        """Tell the builder what to take from outside the package."""
        try:
            if self.target_name == "sdist":
                build_data["force_include"].update(_engine_sources(Path(self.root)))
            else:
                self._include_library(version, build_data)
        except BuildError as error:
            raise SystemExit(f"dynamoe: {error}") from None

    def _include_library(self, version, build_data):
        """Find or build the library and say where it goes."""
        library = _named_library() or _built_library(Path(self.root))
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


def _engine_sources(root):
    """Return where the Swift sources are, mapped to where they go in the sdist."""
    checkout = _checkout(root)
    if checkout == root / ENGINE_NAME:  # an sdist made from an unpacked sdist has them already
        return {}
    return {str(checkout / name): f"{ENGINE_NAME}/{name}" for name in ENGINE_SOURCES}


def _checkout(root):
    """Return the folder with Package.swift that belongs to the Python package in `root`."""
    for folder in (root / ENGINE_NAME, *root.parents):
        if (folder / "Package.swift").is_file() and (folder / "Include/dynamoe.h").is_file():
            return folder
    raise BuildError(
        "no Swift sources of DynaMoE in or around this folder: build from a clone or an sdist, or "
        f"name a finished {LIBRARY_NAME} in the environment variable DYNAMOE_LIBRARY."
    )


def _built_library(root):
    """Build the library from its Swift sources and return its path."""
    checkout = _checkout(root)
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
