"""The declarations against the header and against the exports of the library."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import dynamoe
import pytest
from dynamoe import _library, _signatures

from support import header

_SCALARS = {
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "double": ctypes.c_double,
    "dynamoe_status": ctypes.c_int32,
    "const char*": ctypes.c_char_p,
    "char*": ctypes.c_void_p,
    "dynamoe_model*": ctypes.c_void_p,
    "dynamoe_layer*": ctypes.c_void_p,
    "dynamoe_session*": ctypes.c_void_p,
}
_ARRAYS = {"float", "double", "int32_t", "int64_t", "uint8_t"}


@pytest.fixture(scope="module")
def path(checkout):
    """Return the header."""
    return checkout / "Include" / "dynamoe.h"


def expected_argument(text):
    """Return the ctypes declaration of an argument type of the header."""
    if text in _SCALARS:
        return _SCALARS[text]
    plain = text.removeprefix("const ")
    target = plain.rstrip("*")
    if plain in ("dynamoe_model**", "dynamoe_layer**", "dynamoe_session**"):
        return ctypes.POINTER(ctypes.c_void_p)
    if target in _signatures.STRUCTS:
        return ctypes.POINTER(_signatures.STRUCTS[target])
    if plain == "size_t*":
        return ctypes.POINTER(ctypes.c_size_t)
    assert plain.endswith("*") and target in _ARRAYS, text
    return ctypes.c_void_p


def test_every_function_of_the_header_is_declared(path):
    assert set(header.functions(path)) == set(_signatures.FUNCTIONS)


def test_functions_have_the_types_of_the_header(path):
    for name, (result, arguments) in header.functions(path).items():
        declared_result, declared = _signatures.FUNCTIONS[name]
        assert declared_result is _SCALARS[result], name
        assert list(declared) == [expected_argument(text) for text in arguments], name


def test_structs_have_the_fields_of_the_header(path):
    in_header = header.structs(path)
    assert set(in_header) == set(_signatures.STRUCTS)
    for name, fields in in_header.items():
        declared = _signatures.STRUCTS[name]._fields_
        assert [field for field, _ in declared] == [field for field, _, _ in fields], name
        for (field, kind), (_, text, length) in zip(declared, fields, strict=True):
            place = f"{name}.{field}"
            if length > 1:
                assert kind is _SCALARS[text] * length, place
            elif name == "dynamoe_targets" and text.endswith("*"):
                assert kind is ctypes.c_void_p, place
            elif text.endswith("*") and text != "const char*":
                target = text.removeprefix("const ").removesuffix("*")
                pointed = {**_SCALARS, "float": ctypes.c_float, **_signatures.STRUCTS}[target]
                assert kind is ctypes.POINTER(pointed), place
            else:
                assert kind is {**_SCALARS, **_signatures.STRUCTS}[text], place


def test_structs_have_the_sizes_that_the_compiler_gives_them(path, tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    lines = [f'printf("{name} %zu\\n", sizeof({name}));' for name in _signatures.STRUCTS]
    program = tmp_path / "sizes.c"
    program.write_text(
        '#include <stdio.h>\n#include "dynamoe.h"\nint main(void) {' + "".join(lines) + "}"
    )
    binary = tmp_path / "sizes"
    subprocess.run([compiler, f"-I{path.parent}", program, "-o", binary], check=True)
    printed = subprocess.run([binary], check=True, capture_output=True, text=True).stdout
    sizes = {name: int(size) for name, size in map(str.split, printed.splitlines())}
    assert sizes == {name: ctypes.sizeof(kind) for name, kind in _signatures.STRUCTS.items()}


def test_status_codes_are_those_of_the_header(path):
    constants = header.constants(path)
    statuses = {n: v for n, v in constants.items() if n.startswith("DYNAMOE_ERROR_")}
    assert len(statuses) == 9
    for name, value in statuses.items():
        assert getattr(_signatures, name.removeprefix("DYNAMOE_")) == value
    tasks = [constants[f"DYNAMOE_TASK_{name.upper()}"] for name in _signatures.TASKS]
    assert tasks == list(range(len(tasks)))
    names = [f"DYNAMOE_PRECISION_{name.upper()}" for name in _signatures.PRECISIONS]
    assert [constants[name] for name in names] == list(range(len(names)))


def test_library_exports_the_declared_functions_and_nothing_else():
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("no nm")
    command = [nm, "-D", "--defined-only", _library.library._name]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert {line.split()[-1] for line in printed.splitlines()} == set(_signatures.FUNCTIONS)


def test_versions():
    assert _library.library.dynamoe_abi_version() == _signatures.ABI_VERSION
    assert dynamoe.__version__ == dynamoe.version()
    assert [part.isdigit() for part in dynamoe.version().split(".")] == [True] * 3
