"""The examples run as scripts; test_notebooks.py has the notebooks."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from test_data import write_idx_set


def run(script, *arguments, folder, expected=0):
    """Run a script in `folder`, headless, and return (standard output, standard error)."""
    environment = {**os.environ, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=folder,
        env=environment,
    )
    assert done.returncode == expected, done.stderr
    return done.stdout, done.stderr


@pytest.fixture
def examples(checkout):
    """Return the folder of the examples."""
    return checkout / "examples" / "python"


def test_demo_reaches_its_accuracy(examples, tmp_path):
    output, errors = run(examples / "demo.py", "--figure", "out.png", folder=tmp_path)
    accuracy = float(re.search(r"Test accuracy ([\d.]+) %", output).group(1))
    assert accuracy >= 97
    for title in ("Layer   Experts", "Experts used by a test image", "Test images per expert"):
        assert title in output
    assert "Figure: out.png" in output
    for word in ("loss", "accuracy", "mean K"):
        assert word in errors
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_demo_numbers_add_up(examples, tmp_path):
    output, _ = run(examples / "demo.py", "--epochs", "1", folder=tmp_path)
    block = output.split("Test images per expert")[1]
    loads = re.findall(r"layer \d+((?:\s+[\d,]+)+)\s", block)
    table = output.split("Layer   Experts")[1].split("\n\n")[0]
    means = [float(line.split()[2]) for line in table.splitlines()[1:]]
    counts = [int(line.split()[1]) for line in table.splitlines()[1:]]
    assert len(loads) == len(means) >= 3
    for line, mean, experts in zip(loads, means, counts, strict=True):
        rows = [int(number.replace(",", "")) for number in line.split()]
        assert len(rows) == experts
        assert sum(rows) / 359 == pytest.approx(mean, abs=0.03)


def test_demo_reads_idx_files(examples, tmp_path):
    write_idx_set(tmp_path, train=300, test=50)
    arguments = ("--data", "fashion_mnist", "--folder", ".", "--epochs", 1)
    output, _ = run(examples / "demo.py", *arguments, folder=tmp_path)
    assert "300 training and 50 test images" in output
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(b"not gzip")
    _, errors = run(examples / "demo.py", *arguments, folder=tmp_path, expected=1)
    assert "train-images-idx3-ubyte.gz" in errors and "http" in errors
    assert "Traceback" not in errors and len(errors.splitlines()) == 1


def test_demo_says_what_is_missing(examples, tmp_path):
    arguments = ("--data", "mnist", "--folder", "absent")
    _, errors = run(examples / "demo.py", *arguments, folder=tmp_path, expected=1)
    assert "absent is not a folder" in errors and "Traceback" not in errors
    _, errors = run(examples / "demo.py", "--data", "mnist", folder=tmp_path, expected=2)
    assert "--folder" in errors
    _, errors = run(examples / "demo.py", "--epochs", "0", folder=tmp_path, expected=2)
    assert "--epochs" in errors


def test_demo_without_matplotlib(examples, tmp_path, monkeypatch, capsys):
    specification = importlib.util.spec_from_file_location("demo", examples / "demo.py")
    demo = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "demo", demo)
    specification.loader.exec_module(demo)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = demo.run(demo.arguments(["--epochs", "1", "--figure", str(tmp_path / "x.png")]))
    assert result["rows"] == 359
    assert "dynamoe[plot]" in capsys.readouterr().out and not list(tmp_path.iterdir())


def knob_table(output):
    """Return what k_knob printed, [positions, 5]: three K, accuracy in percent, operations."""
    table = output.split("Asked K")[1].split("\n\n")[0].splitlines()[1:]
    return np.array([[float(cell) for cell in re.findall(r"[\d.]+", line.replace(",", ""))]
                     for line in table])  # fmt: skip


def test_k_knob(examples, tmp_path):
    arguments = ("--epochs", 4, "--step", 1.75, "--figure", "out.png")
    output, _ = run(examples / "k_knob.py", *arguments, folder=tmp_path)
    asked, calibrated, tested, accuracy, operations = knob_table(output).T
    np.testing.assert_allclose(asked, [1, 2.75, 4.5, 6.25, 8])
    np.testing.assert_allclose(calibrated, asked, rtol=0.02)
    np.testing.assert_allclose(tested, asked, rtol=0.1)
    assert tested[0] >= 1 and tested[-1] <= 8 and np.all(np.diff(operations) > 0)
    # Two layers of eight experts, 64 wide, 64 hidden, 2 operations per multiply-add.
    np.testing.assert_allclose(np.diff(operations), np.diff(tested) * 2 * 4 * 64 * 64, rtol=0.03)
    assert accuracy.max() >= 92 and accuracy.max() > accuracy[0]
    assert "Figure: out.png" in output
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_k_knob_reads_idx_files(examples, tmp_path):
    write_idx_set(tmp_path, train=300, test=50)
    data = ("--data", "fashion_mnist", "--folder")
    arguments = (*data, ".", "--epochs", 1, "--step", 8)
    output, _ = run(examples / "k_knob.py", *arguments, folder=tmp_path)
    assert "240 training, 60 held-back and 50 test images" in output
    assert knob_table(output)[:, 0].tolist() == [1, 8]
    _, errors = run(examples / "k_knob.py", *data, "absent", folder=tmp_path, expected=1)
    assert "absent is not a folder" in errors and "Traceback" not in errors
    for wrong in (("--data", "mnist"), ("--epochs", "0"), ("--step", "0")):
        _, errors = run(examples / "k_knob.py", *wrong, folder=tmp_path, expected=2)
        assert wrong[0] in errors


def test_quickstart(examples, tmp_path):
    output, _ = run(examples / "quickstart.py", folder=tmp_path)
    accuracy = float(re.search(r"test accuracy ([\d.]+) %", output).group(1))
    assert accuracy >= 97
    assert (tmp_path / "digits.safetensors").is_file()


def test_published_data_reaches_its_accuracy(examples, tmp_path, data_folder):
    """The long way: five epochs of a published set; only when asked for."""
    name = os.environ.get("DYNAMOE_LONG_TEST")
    if name not in ("mnist", "fashion_mnist"):
        pytest.skip("takes minutes: set DYNAMOE_LONG_TEST to mnist or fashion_mnist")
    folder = data_folder / name.replace("_", "-")
    output, _ = run(examples / "demo.py", "--data", name, "--folder", folder, folder=tmp_path)
    accuracy = float(re.search(r"Test accuracy ([\d.]+) %", output).group(1))
    assert accuracy >= {"mnist": 97.5, "fashion_mnist": 88}[name]
