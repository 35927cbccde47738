"""What the command refuses, and how: one line that says what is wrong, and its status."""

from __future__ import annotations

import json

import pytest

from support_command import CONFIG, images

ROWS = "a,b,k\n" + "".join(f"{i % 7},{i % 3},{'xy'[i % 2]}\n" for i in range(40))


@pytest.fixture
def trained(run):
    """Train on the rows; return the function that runs the command."""
    (run.folder / "rows.csv").write_text(ROWS)
    run("train", "config.json", "--data", "rows.csv", "--epochs", 1)
    return run


def refused(run, *arguments, status=1):
    """Return the one line with which a command is refused."""
    message = run(*arguments, status=status)
    if status == 1:
        assert message.startswith("error: ") and message.count("\n") == 1, message
    return message


def test_what_the_engine_refuses_is_an_error(trained):
    run = trained
    steep = {**CONFIG, "inputs": 2, "outputs": 2, "optimizer": {"lr": 1e6}}
    (run.folder / "steep.json").write_text(json.dumps(steep))
    target = ("--output", "steep.safetensors")
    message = refused(run, "train", "steep.json", "--data", "rows.csv", *target)
    assert "finite" in message and not (run.folder / "steep.safetensors").exists()
    assert "finite" in refused(run, "bench", "steep.json", "--seconds", "0.05")
    report = ("report", "model.safetensors", "--data", "rows.csv")
    assert "/missing/folder" in refused(run, *report, "--output", "/missing/folder/x.html")
    (run.folder / "large.csv").write_text("a,b,k\n3e38,3e38,x\n")
    for name in "evaluate", "predict":
        assert "finite" in refused(run, name, "model.safetensors", "--data", "large.csv")


def test_labels_of_one_file_are_not_those_of_another(run):
    images(run.folder)
    pixels = (run.folder / "small-images-idx3-ubyte").read_bytes()
    kinds = (run.folder / "small-labels-idx1-ubyte").read_bytes()
    (run.folder / "small-labels-idx1-ubyte").rename(run.folder / "kinds")
    (run.folder / "other").write_bytes(pixels)
    # Every class is one further than the model is taught.
    turned = bytes((kind + 1) % 10 for kind in kinds[8:])
    (run.folder / "turned").write_bytes(kinds[:8] + turned)
    data = ("--data", "small-images-idx3-ubyte", "--labels", "kinds", "--epochs", 20)
    message = refused(run, "train", "config.json", *data, "--validation", "other")
    assert "--validation-labels" in message and "other" in message
    assert not (run.folder / "model.safetensors").exists()
    accuracies = []
    for name in "kinds", "turned":
        more = ("--validation", "other", "--validation-labels", name, "--json")
        said = json.loads(run("train", "config.json", *data, *more))
        accuracies.append(said["validation"]["accuracy"])
    assert accuracies[0] > 0.9 and accuracies[1] < 0.1
    more = ("--validation-labels", "kinds")
    assert "--validation" in refused(run, "train", "config.json", *data, *more, status=2)
