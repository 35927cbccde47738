"""The built command on data made here: what it says, keeps, refuses, and with which status."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import termios
import time

import dynamoe as dm
import numpy as np
import pytest

from support_command import COMMAND, CONFIG, images

LETTERS = [f"{chr(97 + i)}" for i in range(24)] + ['say "y", z', "é 漢 \x1b[31m"]


def table(path, rows=600, header=True, seed=0):
    """Write 26 unbalanced classes over features of very different units; return them."""
    rng = np.random.default_rng(seed)
    classes = np.minimum(rng.exponential(6, rows).astype(int), 25)
    columns = [
        1e6 + 5e4 * classes + rng.normal(0, 5e3, rows),
        1e-5 * (classes % 5 + rng.normal(0, 0.05, rows)),
        2000 + 10 * (classes % 3) + rng.normal(0, 0.5, rows),
        np.full(rows, 7.0),
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if header:
            writer.writerow(["salary", "tiny, as it is", "year", "same", "letter"])
        for row, kind in zip(zip(*columns, strict=True), classes, strict=True):
            writer.writerow([*(repr(float(value)) for value in row), LETTERS[kind]])
    return np.stack(columns, axis=1), classes


def test_schedule(run):
    said = json.loads(run("schedule", "wave", "--layers", 9, "--maximum", 8, "--json"))
    expected = dm.schedule("wave", layers=9, minimum=1, maximum=8)
    assert said["experts"] == list(expected) and said["total"] == expected.sum()
    for width in (20, 40, 200):
        environment = {**os.environ, "COLUMNS": str(width), "LC_ALL": "C.UTF-8"}
        text = run("schedule", "descending", "--layers", 3, "--maximum", 60, env=environment)
        lines = text.splitlines()
        assert [line.split()[-1] for line in lines[3:]] == ["60", "31", "1"]
        assert max(map(len, lines[3:])) <= width and "\x1b" not in text
        lengths = [line.count("█") for line in lines[3:]]
        assert lengths[0] > lengths[1] > lengths[2] or width == 20
    plain = run("schedule", "uniform", "--layers", 1, "--maximum", 2, env={"LC_ALL": "C"})
    assert plain.isascii() and "########" in plain
    assert "descending" in run("schedule", "down", "--layers", 1, "--maximum", 2, status=2)
    assert "minimum" in run(
        "schedule", "wave", "--layers", 1, "--maximum", 2, "--minimum", 3, status=2
    )


def test_train_on_letters_and_use_the_model_everywhere(run):
    x, classes = table(run.folder / "letters.csv")
    table(run.folder / "more.csv", seed=1)
    data = ("--data", "letters.csv")
    arguments = (*data, "--standardize", "--epochs", 12, "--validation-share", "0.25")
    said = json.loads(run("train", "config.json", *arguments, "--json"))
    assert said["class_names"] == sorted(LETTERS, key=lambda name: name.encode())
    assert said["features"] == 4 and said["outputs"] == 26 and len(said["epochs"]) == 12
    assert said["validation"]["accuracy"] > 0.9
    assert said["epochs"][-1]["validation"]["accuracy"] == pytest.approx(
        said["validation"]["accuracy"], abs=0.02
    )
    result = json.loads(run("evaluate", "model.safetensors", "--data", "more.csv", "--json"))
    assert result["accuracy"] > 0.9 and result["rows"] == 600

    model = dm.Model.load(run.folder / "model.safetensors")
    names = said["class_names"]
    own = [names.index(LETTERS[kind]) for kind in classes]
    assert model.evaluate(x, own)["accuracy"] > 0.9
    run("predict", "model.safetensors", *data, "--probabilities", "--output", "answers.csv")
    with (run.folder / "answers.csv").open(newline="", encoding="utf-8") as file:
        answers = list(csv.reader(file))
    assert answers[0] == ["prediction", *(f"p_{name}" for name in names)]
    assert [row[0] for row in answers[1:]] == [names[i] for i in model.predict(x)]
    shares = np.array([row[1:] for row in answers[1:]], float)
    np.testing.assert_allclose(shares, model.predict_proba(x), atol=1e-5)

    # Another surface keeps the names, and columns are found by theirs.
    model.save(run.folder / "again.safetensors")
    with (run.folder / "letters.csv").open(newline="", encoding="utf-8") as file:
        turned = [[*reversed(row), "9"] for row in csv.reader(file)]
    with (run.folder / "turned.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([[*turned[0][:-1], "id"], *turned[1:]])
    first = run("evaluate", "model.safetensors", *data, "--json")
    assert run("evaluate", "again.safetensors", "--data", "turned.csv", "--json") == first
    facts = json.loads(run("inspect", "again.safetensors", "--json"))
    assert facts["class_names"] == names and facts["target_name"] == "letter"
    assert facts["feature_names"] == ["salary", "tiny, as it is", "year", "same"]
    assert facts["config"]["inputs"] == 4 and facts["config"]["outputs"] == 26
    assert facts["parameter_count"] == model.parameter_count
    text = run("inspect", "again.safetensors")
    assert "head.weight" in text and "\x1b" not in text
    run("report", "again.safetensors", *data, "--output", "report.html", "--title", "<i>")
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;i&gt;" in page and "say &quot;y&quot;, z" in page and "<i>" not in page


def test_a_column_that_hardly_varies_is_warned_of(run):
    rows = [f"{1.7e9 + 50 * i:.0f},{i % 2},{'ab'[i % 2]}" for i in range(40)]
    (run.folder / "times.csv").write_text("time,x,k\n" + "\n".join(rows))
    command = [COMMAND, "train", "config.json", "--data", "times.csv", "--standardize"]
    result = subprocess.run(
        command, cwd=run.folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert '"time"' in result.stderr and "nan" not in result.stdout
    weight = dm.Model.load(run.folder / "model.safetensors").parameters["input.weight"]
    assert not weight[:, 0].any() and weight[:, 1].any()


def test_the_same_seed_gives_the_same_file(run):
    table(run.folder / "letters.csv", rows=200)
    files = []
    for name, seed in ("a", 3), ("b", 3), ("c", 4):
        output = ("--output", f"{name}.safetensors", "--seed", seed, "--epochs", 1)
        run("train", "config.json", "--data", "letters.csv", *output)
        files.append((run.folder / f"{name}.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_train_on_images(run):
    pixels, kinds = images(run.folder)
    said = json.loads(
        run("train", "config.json", "--data", "small-images-idx3-ubyte", "--epochs", 30, "--json")
    )
    assert said["features"] == 64 and said["training"]["accuracy"] > 0.9
    model = dm.Model.load(run.folder / "model.safetensors")
    assert model.evaluate(pixels / np.float32(255), kinds)["accuracy"] > 0.9
    (run.folder / "small-labels-idx1-ubyte").rename(run.folder / "kinds")
    data = ("--data", "small-images-idx3-ubyte")
    assert "--labels" in run("evaluate", "model.safetensors", *data, status=1)
    run("evaluate", "model.safetensors", *data, "--labels", "kinds")
    said = json.loads(run("predict", "model.safetensors", *data, "--json"))
    assert len(said["predictions"]) == 400


def test_regression_in_the_units_of_the_data(run):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(500, 2)) * [1e4, 1e-3] + [5e5, 1]
    y = np.stack([3e6 + 20 * (x[:, 0] - 5e5), 1e3 * x[:, 1]], axis=1)
    np.savetxt(run.folder / "data.csv", np.hstack([x, y]), delimiter=";")
    regression = {**CONFIG, "task": "regression"}
    (run.folder / "config.json").write_text(json.dumps(regression))
    columns = ("--label", 3, "--label", 4, "--delimiter", ";")
    arguments = ("--data", "data.csv", *columns, "--standardize", "--epochs", 30, "--json")
    said = json.loads(run("train", "config.json", *arguments))
    assert said["training"]["r2"] > 0.95 and said["outputs"] == 2
    model = dm.Model.load(run.folder / "model.safetensors")
    assert model.evaluate(x, y)["r2"] > 0.95
    text = run("predict", "model.safetensors", "--data", "data.csv", *columns)
    assert text.startswith("prediction_0,prediction_1\n") and text.count("\n") == 501
    assert "classes" in run(
        "predict", "model.safetensors", "--data", "data.csv", "--probabilities", status=1
    )


def test_tensors_and_tokens(run):
    from support_tensors import write

    ids = np.random.default_rng(3).integers(0, 30, 200).astype(np.int32)
    write(run.folder / "text.safetensors", {"x": ids[:-1], "y": ids[1:]})
    model = {k: v for k, v in CONFIG.items() if k != "task"}
    tokens = {**model, "task": "language_model", "vocabulary": 30}
    (run.folder / "tokens.json").write_text(json.dumps(tokens))
    said = json.loads(run("train", "tokens.json", "--data", "text.safetensors", "--json"))
    assert said["training"]["perplexity"] > 1
    assert "2.5" in refused_row(run, "tokens.json", "1,2\n2.5,3\n")
    assert "token" in refused_row(run, "tokens.json", "1,2\n30,3\n")


def refused_row(run, config, text, *arguments):
    (run.folder / "bad.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    message = run("train", config, "--data", "bad.csv", *arguments, status=1)
    assert message.startswith("error: ") and message.count("\n") == 1
    assert not (run.folder / "model.safetensors").exists() or config == "tokens.json"
    return message


@pytest.mark.parametrize(
    ("text", "arguments", "words"),
    [
        ("a,b,k\n1,2,x\n3,,y\n", (), ["line 3", "column 2", '"b"', "empty"]),
        ("a,b,k\n1,2,x\n\n3,five,y\n", (), ["line 4", "column 2", '"five"', "number"]),
        ("a,b,k\n1,nan,x\n", (), ["line 2", "nan"]),
        ("a,b,k\n1,1e99,x\n", (), ["line 2", "1e99"]),
        ("a,b,k\n1,0x1p3,x\n", (), ["line 2", "0x1p3"]),
        ("a,b,k\n1,2,x\n3,4\n", (), ["line 3", "2 fields", "3"]),
        ("a,b,k\n1,2,x,9\n", (), ["line 2", "4 fields"]),
        ("a,b,k\n1,2,\n", (), ["line 2", "column 3", "class"]),
        ('a,b,k\n1,"2,x\n', (), ["line 2", "column 2", "end"]),
        ('a,b,k\n1,"2"3,x\n', (), ["line 2", "column 2", "closing"]),
        ("a,b,k\n1,2,x\n3,4,x\n", (), ["at least two classes"]),
        ("a,b,k\n", (), ["no rows"]),
        ("", (), ["no rows"]),
        ("a,b,k\n1,2,x\n", ("--label", "c"), ['"c"', '"k"']),
        ("a,b,k\n1,2,x\n", ("--label", "9"), ['"9"', "1 to 3"]),
        ("k\nx\ny\n", (), ["no column"]),
        (b"a,b,k\n1,2,\xff\n", (), ["UTF-8"]),
        (b"\x1f\x8b\x08\x00rest", (), ["gzip"]),
        (b"\x00\x00\x08\x03\x00\x00", (), ["truncated"]),
        (b"\x00\x00\x08\x01\x7f\xff\xff\xff", (), ["bytes of data"]),
        (b"\x00\x00\x09\x01\x00\x00\x00\x00", (), ["type 9"]),
    ],
)
def test_bad_data_is_refused_with_its_place(run, text, arguments, words):
    message = refused_row(run, "config.json", text, *arguments)
    for word in words:
        assert word in message, message


def test_quoted_fields_and_line_ends(run):
    text = '\ufeff"a b", "c""d" ,k\r\n"1", 2 ,"x, y"\r\n\r\n 3,"4","z\nz"\r\n'
    (run.folder / "odd.csv").write_bytes(text.encode())
    said = json.loads(run("train", "config.json", "--data", "odd.csv", "--epochs", 1, "--json"))
    assert said["class_names"] == ["x, y", "z\nz"] and said["rows"] == 2
    facts = json.loads(run("inspect", "model.safetensors", "--json"))
    assert facts["feature_names"] == ["a b", 'c"d'] and facts["target_name"] == "k"
    (run.folder / "other.csv").write_text("a b,k\n1,2\n")
    message = run("predict", "model.safetensors", "--data", "other.csv", status=1)
    assert 'c\\"d' in message or 'c"d' in message
    (run.folder / "other.csv").write_text('a b,"c""d"\n1,2\n')
    assert run("predict", "model.safetensors", "--data", "other.csv").count("\n") == 2
    (run.folder / "other.csv").write_text('a b,"c""d",k\n1,2,new\n')
    assert '"new"' in run("evaluate", "model.safetensors", "--data", "other.csv", status=1)
    piped = run("predict", "model.safetensors", "--data", "-", input='"c""d",a b\n2,1\n')
    assert piped.count("\n") == 2


def test_usage_and_failures_have_their_status(run):
    assert "Usage: dynamoe" in run("train", status=2)
    assert "epochs" in run("train", "c", "--data", "d", "--epochs", 0, status=2)
    sizes = ("--layers", 3, "--maximum", 2)
    assert "--layer" in run("schedule", "wave", *sizes, "--layer", 3, status=2)
    assert "absent.json" in run("train", "absent.json", "--data", "d", status=1)
    assert "absent" in run("inspect", "absent", status=1)
    (run.folder / "config.json").write_text('{"task": "classification", "widht": 3}')
    message = run("train", "config.json", "--data", "d", status=1)
    assert "config.json" in message and "widht" in message
    (run.folder / "config.json").write_text(json.dumps({**CONFIG, "inputs": 3}))
    assert "inputs = 3" in refused_row(run, "config.json", "1,2,x\n3,4,y\n")
    (run.folder / "config.json").write_text(json.dumps({**CONFIG, "outputs": 3}))
    assert "outputs = 3" in refused_row(run, "config.json", "1,2,x\n3,4,y\n")
    target = ("--output", "absent/model.safetensors")
    assert "absent" in run("train", "config.json", "--data", "d", *target, status=1)
    (run.folder / "config.json").write_text(json.dumps({**CONFIG, "bias": False}))
    assert "bias" in refused_row(run, "config.json", "1,2,x\n3,4,y\n", "--standardize")
    for name in ("", "schedule", "train", "evaluate", "predict", "inspect", "report", "bench"):
        text = run(*[part for part in (name, "--help") if part])
        assert "USAGE: dynamoe" in text and f"dynamoe {name or 'train'} " in text
    assert run("--version") == dm.version() + "\n"


def test_a_full_device_is_a_failure_and_a_closed_pipe_is_quiet(run):
    command = f"{COMMAND} schedule uniform --layers 60000 --maximum 9"
    shell = ["bash", "-c", f"set -o pipefail; {command} | head -n 1; echo ${{PIPESTATUS[0]}}"]
    result = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert result.stdout.splitlines()[-1] == "141" and result.stderr == ""
    with open("/dev/full", "w") as full:
        failed = subprocess.run(command.split(), stdout=full, stderr=subprocess.PIPE, text=True)
    assert failed.returncode == 1 and "standard output" in failed.stderr


def test_interrupted_training_keeps_the_last_step(run):
    table(run.folder / "letters.csv", rows=400)
    arguments = ["train", "config.json", "--data", "letters.csv", "--epochs", "100000"]
    more = {"cwd": run.folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([COMMAND, *arguments, "--standardize"], **more) as process:
        while "epoch 2" not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted after step" in errors
    step = int(errors.split("step ")[1].split(":")[0])
    facts = json.loads(run("inspect", "model.safetensors", "--json"))
    assert facts["optimizer_steps"] == step > 10
    run("evaluate", "model.safetensors", "--data", "letters.csv")


def test_progress_and_colour_are_for_terminals_only(run):
    table(run.folder / "letters.csv", rows=3000)
    arguments = ["train", "config.json", "--data", "letters.csv", "--epochs", "5"]
    quiet = subprocess.run(
        [COMMAND, *arguments], cwd=run.folder, capture_output=True, text=True, timeout=120
    )
    assert quiet.returncode == 0 and quiet.stderr == "" and "\x1b" not in quiet.stdout
    assert "step" in in_terminal([COMMAND, *arguments], run.folder)
    schedule = [COMMAND, "schedule", "uniform", "--layers", "2", "--maximum", "100"]
    drawn = in_terminal(schedule, run.folder, columns=30)
    assert "\x1b[34m" in drawn
    bare = drawn.replace("\x1b[34m", "").replace("\x1b[0m", "")
    assert max(map(len, bare.splitlines())) <= 30


def in_terminal(command, folder, columns=100):
    """Return what a command writes to a terminal of that width."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    more = {"cwd": folder, "env": environment, "stdout": writer, "stderr": writer}
    with subprocess.Popen(command, **more) as process:
        os.close(writer)
        data = b""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            try:
                piece = os.read(reader, 1 << 16)
            except OSError:
                break
            if not piece:
                break
            data += piece
        assert process.wait(timeout=10) == 0, data
    os.close(reader)
    return data.decode()


def test_bench(run):
    images(run.folder)
    run("train", "config.json", "--data", "small-images-idx3-ubyte", "--epochs", 1)
    before = (run.folder / "model.safetensors").read_bytes()
    arguments = ("--rows", 32, "--threads", 1, "--seconds", "0.05", "--json")
    said = json.loads(run("bench", "model.safetensors", *arguments))
    assert said["threads"] == 1 and said["rows"] == 32
    for name in "forward", "training_step":
        assert said[name]["median_seconds"] >= said[name]["fastest_seconds"] > 0
        assert said[name]["gflops_per_second"] > 0 and said[name]["repetitions"] >= 5
    assert (run.folder / "model.safetensors").read_bytes() == before
    assert "inputs" in run("bench", "config.json", status=1)
    assert "--threads" in run("bench", "config.json", "--threads", 257, status=2)
