"""What the command refuses, and how: one line that says what is wrong, and its status."""

from __future__ import annotations

import json
import shutil

import numpy as np
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


def test_output_that_cannot_be_written_is_refused_before_training(trained):
    run = trained
    (run.folder / "folder").mkdir()
    before = sorted(run.folder.rglob("*"))
    # The data does not exist: whoever came to reading it would say so.
    for output in "folder", "folder/", "/", "missing/model.safetensors", "model.safetensors/x", "":
        message = refused(run, "train", "config.json", "--data", "absent", "--output", output)
        assert f'cannot write "{output}"' in message and "absent" not in message
    assert "a folder" in refused(
        run, "train", "config.json", "--data", "absent", "--output", "folder"
    )
    assert sorted(run.folder.rglob("*")) == before


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


def test_bench_tells_models_from_configurations_by_their_content(trained):
    run = trained
    quick = ("--rows", 8, "--seconds", "0.01", "--json")
    for name in "model.bin", "model.json", "model":
        shutil.copy(run.folder / "model.safetensors", run.folder / name)
        assert json.loads(run("bench", name, *quick))["rows"] == 8
    whole = {**CONFIG, "inputs": 3, "outputs": 2}
    (run.folder / "odd.safetensors").write_text(json.dumps(whole))
    assert json.loads(run("bench", "odd.safetensors", *quick))["rows"] == 8
    for missing in ["inputs"], ["outputs"], ["inputs", "outputs"]:
        part = {key: value for key, value in whole.items() if key not in missing}
        (run.folder / "part.json").write_text(json.dumps(part))
        message = refused(run, "bench", "part.json", *quick)
        assert " and ".join(missing) + (" is" if len(missing) == 1 else " are") in message
        assert "data" in message
    (run.folder / "part.json").write_text(json.dumps({**CONFIG, "widht": 3}))
    assert "widht" in refused(run, "bench", "part.json", *quick)
    (run.folder / "part.json").write_text("no JSON")
    assert "JSON" in refused(run, "bench", "part.json", *quick)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("train", "c", "--data", "d", "--seed", -1),
            ["--seed", "-1", "0 to 18446744073709551615"],
        ),
        (("train", "c", "--data", "d", "--seed", "x"), ["--seed", "x", "0 to"]),
        (("bench", "c", "--seed", -1), ["--seed", "-1", "0 to"]),
        (("train", "c", "--data", "d", "--epochs", -2), ["--epochs is -2", "at least 1"]),
        (("train", "c", "--data", "d", "--batch-size", -2), ["--batch-size is -2", "at least 1"]),
        (("train", "c", "--data", "d", "--validation-share", -1), ["is -1.0", "above 0"]),
        (("bench", "c", "--rows", -2), ["--rows is -2", "at least 1"]),
        (("bench", "c", "--threads", -2), ["--threads is -2", "1 to 256"]),
        (("bench", "c", "--seconds", -2), ["--seconds is -2.0", "above 0"]),
        (("schedule", "wave", "--layers", 3, "--maximum", -3), ["maximum", "-3", "1"]),
        (("schedule", "wave", "--layers", 0, "--maximum", 3), ["layers", "0", "at least 1"]),
        (("schedule", "wave", "--layers", -1, "--maximum", 3), ["layers", "-1", "at least 1"]),
        (
            ("schedule", "wave", "--layers", 3, "--maximum", 3, "--minimum", -1),
            ["minimum", "-1"],
        ),
        (("schedule", "wave", "--layers", 3, "--maximum", 3, "--total", -1), ["total", "-1"]),
        (("schedule", "wave", "--layers", 3, "--maximum", 3, "--cycles", -1), ["cycles", "-1"]),
    ],
)
def test_numbers_out_of_range_are_wrong_usage(run, arguments, words):
    message = refused(run, *arguments, status=2)
    assert "Missing" not in message
    for word in words:
        assert word in message, message


def several(path, order, rows=60):
    """Write three targets of two features, and a number of each row, in columns of that order."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, rows))
    columns = {"id": np.arange(rows) + 1000, "a": a, "b": b, "u": a + b, "v": 100 + a, "w": -b}
    lines = [",".join(order), *(",".join(f"{columns[c][i]:g}" for c in order) for i in range(rows))]
    path.write_text("\n".join(lines) + "\n")


def test_regressions_keep_the_names_of_all_their_targets(run):
    (run.folder / "config.json").write_text(json.dumps({**CONFIG, "task": "regression"}))
    for name, order in {
        "rows.csv": ["id", "a", "u", "v", "b", "w"],
        "turned.csv": ["w", "b", "v", "a", "id", "u"],
        "new.csv": ["id", "b", "a"],
        "plain.csv": ["a", "b"],
        "part.csv": ["a", "b", "u", "v"],
    }.items():
        several(run.folder / name, order)
    labels = ("--label", "u", "--label", "v", "--label", "w")
    data = ("--data", "rows.csv", "--ignore", "id", *labels)
    train = ("train", "config.json", *data, "--epochs", 3, "--standardize")
    run(*train, "--validation", "turned.csv", "--json")
    facts = json.loads(run("inspect", "model.safetensors", "--json"))
    assert facts["target_names"] == ["u", "v", "w"] and facts["target_name"] is None
    assert "targets: u, v, w" in run("inspect", "model.safetensors")

    def evaluate(*arguments):
        return json.loads(run("evaluate", "model.safetensors", "--json", *arguments))

    own = evaluate("--data", "rows.csv")
    assert own["loss"] < 1000  # v is about 100: in a wrong order it is thousands
    turned = ("--label", "w", "--label", "u", "--label", "v")
    assert own == evaluate("--data", "turned.csv") == evaluate("--data", "rows.csv", *turned)
    evaluation = ("evaluate", "model.safetensors", "--data")
    assert '"w"' in refused(run, *evaluation, "part.csv")
    wrong = ("--label", "w", "--label", "u", "--label", "id")
    message = refused(run, *evaluation, "rows.csv", *wrong)
    assert '"w", "u", "id"' in message and '"u", "v", "w"' in message

    def predict(name, *arguments):
        return run("predict", "model.safetensors", "--data", name, *arguments)

    answers = predict("new.csv")
    assert answers.splitlines()[0] == "u,v,w" and answers.count("\n") == 61
    for name in "rows.csv", "turned.csv", "plain.csv", "part.csv":
        assert predict(name) == answers
    said = json.loads(predict("new.csv", "--json"))
    assert said["targets"] == ["u", "v", "w"] and len(said["predictions"][0]) == 3
