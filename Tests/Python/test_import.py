"""What ``import dynamoe`` brings along: little, and nothing that is optional."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Parts of Python's library that the package may import beside those that NumPy does.
_ALLOWED = {
    "__future__",
    "_json",
    "copy",
    "ctypes",
    "dataclasses",
    "errno",
    "fnmatch",
    "importlib",
    "ipaddress",
    "json",
    "ntpath",
    "numpy",
    "operator",
    "pathlib",
    "signal",
    "struct",
    "threading",
    "types",
    "typing",
    "urllib",
    "weakref",
}

_MODULES = """
import json, sys
import numpy
before = set(sys.modules)
{}
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_after(code):
    """Return the modules that `code` imports in a new process that has imported NumPy."""
    program = _MODULES.format(code)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    return json.loads(result.stdout)


def test_the_package_imports_little():
    found = modules_after("import dynamoe")
    assert "dynamoe.model" in found
    foreign = {name.split(".")[0] for name in found if name.split(".")[0] != "dynamoe"}
    public = {name for name in foreign if not name.startswith("_")}
    assert public <= _ALLOWED, sorted(public - _ALLOWED)
    # Readers, figures and other packages' weights wait until they are asked for.
    late = {"dynamoe.data", "dynamoe.plot", "dynamoe.interop"}
    assert not late & set(found)


@pytest.mark.parametrize("name", ["data", "plot"])
def test_what_waits_comes_when_asked_for(name):
    assert f"dynamoe.{name}" in modules_after(f"import dynamoe; dynamoe.{name}")
    assert f"dynamoe.{name}" in modules_after(f"from dynamoe import {name}")
    assert name in json.loads(
        subprocess.run(
            [sys.executable, "-c", "import dynamoe, json; print(json.dumps(dir(dynamoe)))"],
            capture_output=True,
            check=True,
        ).stdout
    )


def test_unknown_names_are_refused_as_of_any_module():
    import dynamoe

    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        dynamoe.nothing_of_this_name


def test_mixtral_blocks_need_no_torch():
    found = modules_after("from dynamoe.interop import mixtral")
    assert "dynamoe.interop.mixtral" in found and "torch" not in found


def test_without_torch_the_module_says_what_is_missing():
    hidden = "import sys; sys.modules['torch'] = None\n"
    code = (
        f"{hidden}try:\n import dynamoe.interop.torch\n"
        "except ImportError as error:\n assert 'dynamoe[torch]' in str(error), error\n"
        "else:\n raise SystemExit('imported')"
    )
    modules_after(code)
