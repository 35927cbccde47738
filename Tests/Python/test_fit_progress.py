"""The bar of `Model.fit`: exactly one, in a terminal, in a notebook, and beside other output."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import types

import pytest

from support.networks import rows

pytest.importorskip("tqdm")

SCRIPT = """
import logging, sys
import dynamoe as dm
x, y = dm.data.digits()
model = dm.Model({"task": "classification", "inputs": 64, "outputs": 10, "width": 32,
    "experts": [8, 4], "router": {"kind": "threshold", "target_active": 2}})
logging.basicConfig(level=logging.INFO, format="%(message)s")
log = dm.callbacks.Logging(logging.getLogger("fit"))
history = model.fit(x, y, epochs=EPOCHS, validation=(x, y), callbacks=CALLBACKS)
"""


def screen(written, columns):
    """Return the lines that a terminal shows after it was sent `written`."""
    lines, line, column = [[]], 0, 0
    for character in written:
        if character == "\r":
            column = 0
        elif character == "\n":
            line += 1
        else:
            if column == columns:
                line, column = line + 1, 0
            while line >= len(lines):
                lines.append([])
            lines[line] += [" "] * (column + 1 - len(lines[line]))
            lines[line][column] = character
            column += 1
        if line == len(lines):
            lines.append([])
    return ["".join(characters).rstrip() for characters in lines if characters]


def in_terminal(epochs, columns, callbacks="None", press_at=None):
    """Run the script in a terminal, press Ctrl-C when it shows `press_at`, return its screen."""
    script = SCRIPT.replace("EPOCHS", str(epochs)).replace("CALLBACKS", callbacks)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    # A session of its own, whose terminal this is: Ctrl-C then reaches it.
    command = [sys.executable, "-c", "import fcntl, termios, sys\n"
               "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n" + script]  # fmt: skip
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment
    )
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        written += part
        if press_at is not None and press_at in written:
            os.write(ours, b"\x03")
            press_at = None
    os.close(ours)
    assert process.wait(timeout=60) == 0, written
    return screen(written.decode(), columns)


@pytest.mark.parametrize("columns", [100, 44])
def test_one_bar_in_a_terminal(columns):
    shown = in_terminal(3, columns)
    assert len(shown) == 1 and len(shown[0]) <= columns, shown
    assert shown[0].startswith("epoch 3/3 |█") and "loss 0." in shown[0]
    assert columns < 100 or "mean K" in shown[0]


def test_what_callbacks_print_stands_above_the_bar():
    shown = in_terminal(2, 200, '[log, lambda m, h: print("printed", h.epochs)]')
    assert [line.split()[0:2] for line in shown] == [
        ["epoch", "1/2:"], ["printed", "1"], ["epoch", "2/2:"], ["printed", "2"], ["epoch", "2/2"]
    ], shown  # fmt: skip
    assert sum("|" in line for line in shown) == 1


def test_one_bar_after_ctrl_c_in_a_terminal():
    shown = in_terminal(100000, 120, press_at=b"epoch 2/")
    assert sum("|" in line for line in shown) == 1, shown
    assert shown[0].endswith("^C") and shown[1].startswith("Stopped by Ctrl-C after ")


class Widget:
    """Stands for tqdm's bar in notebooks."""

    made: list[Widget] = []  # noqa: RUF012

    def __init__(self, total, **more):
        self.total, self.n, self.closed = total, 0, 0
        Widget.made.append(self)

    def update(self):
        self.n += 1

    def close(self):
        self.closed += 1

    def set_postfix_str(self, text, refresh):
        self.postfix = text

    def set_description_str(self, text, refresh):
        self.description = text


@pytest.fixture
def notebook(monkeypatch):
    """Make the running code look like a notebook's, with and without ipywidgets."""
    shell = types.SimpleNamespace(kernel=object())
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "ipywidgets", types.ModuleType("ipywidgets"))
    monkeypatch.setitem(sys.modules, "tqdm.notebook", types.SimpleNamespace(tqdm=Widget))
    Widget.made.clear()
    return monkeypatch


def test_one_widget_in_a_notebook(model, notebook, capsys):
    model.fit(*rows(), epochs=3)
    (bar,) = Widget.made
    assert (bar.n, bar.total, bar.closed) == (3, 3, 1) and bar.description == "epoch 3/3"
    model.fit(*rows(), epochs=9, callbacks=lambda model, history: history.epochs == 2)
    assert (Widget.made[1].n, Widget.made[1].total) == (2, 2)
    assert capsys.readouterr() == ("", "")

    def interrupt(model, history):
        os.kill(os.getpid(), signal.SIGINT)

    model.fit(*rows(), epochs=9, callbacks=interrupt)
    assert (Widget.made[2].n, Widget.made[2].total, Widget.made[2].closed) == (1, 9, 1)
    assert "Ctrl-C" in capsys.readouterr().err


@pytest.mark.filterwarnings("error")
def test_one_bar_of_text_in_a_notebook_without_widgets(model, notebook, capsys):
    notebook.setitem(sys.modules, "ipywidgets", None)
    model.fit(*rows(), epochs=3)
    shown = screen(capsys.readouterr().err, 200)
    assert len(shown) == 1 and shown[0].startswith("epoch 3/3 |█") and not Widget.made


def test_in_a_real_kernel():
    """Run only where nbclient, ipykernel and ipywidgets are installed."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("ipywidgets")
    code = SCRIPT.replace("EPOCHS", "3").replace("CALLBACKS", "None")
    cell = nbformat.v4.new_code_cell(code)
    nbclient.NotebookClient(nbformat.v4.new_notebook(cells=[cell]), timeout=60).execute()
    (shown,) = cell.outputs
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
