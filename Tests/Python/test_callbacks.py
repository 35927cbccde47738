"""Callbacks of `Model.fit`: early stopping, checkpoints, logs, beginning and end of all."""

from __future__ import annotations

import csv
import json
import logging
import math
import os
import signal

import dynamoe as dm
import numpy as np
import pytest
from dynamoe.callbacks import Callback, Checkpoint, EarlyStopping, Logging

from support.networks import classifier, config, rows, state


def values(model):
    """Return copies of everything that a model's output depends on."""
    return {name: np.array(a) for name, a in {**model.parameters, **model.buffers}.items()}


def same(one, other):
    return all(np.array_equal(one[name], other[name]) for name in one)


class Script(Callback):
    """Replaces a metric by chosen numbers, and keeps the model's values after each epoch."""

    def __init__(self, numbers, metric="loss"):
        self.numbers, self.metric, self.after = numbers, metric, []

    def __call__(self, model, history):
        number = self.numbers[history.epochs - 1]
        if self.metric.startswith("validation_"):
            history.validation[-1][self.metric.removeprefix("validation_")] = number
        else:
            getattr(history, self.metric)[-1] = number
        self.after.append(values(model))


def fit(callbacks, epochs=8, **more):
    model = classifier()
    history = model.fit(
        *rows(60), epochs=epochs, batch_size=20, callbacks=callbacks, progress=False, **more
    )
    return model, history


@pytest.mark.parametrize(
    ("metric", "numbers"),
    [
        ("loss", [5, 3, 4, 3, 2.9, 6]),
        ("accuracy", [0.1, 0.6, 0.5, 0.6, 0.62, 0.1]),
        ("validation_accuracy", [0.1, 0.6, float("nan"), 0.6, 0.62, 0.1]),
    ],
)
def test_early_stopping_restores_the_best_epoch(metric, numbers):
    script = Script(numbers, metric)
    stopping = EarlyStopping(metric, patience=2)
    model, history = fit([script, stopping], validation=rows(20, 2))
    assert history.epochs == 4 and history.stopped_by == "EarlyStopping"
    assert "stopped by EarlyStopping" in repr(history) and not history.interrupted
    assert (stopping.best_epoch, stopping.best) == (2, numbers[1])
    assert same(script.after[1], values(model)) and not same(script.after[3], values(model))


def test_minimum_change_and_patience():
    script = Script([5, 4.9, 4.8, 4.3, 4.25, 1, 1, 1])
    stopping = EarlyStopping("loss", patience=3, minimum_change=0.5, restore_best=False)
    model, history = fit([script, stopping])
    assert history.epochs == 8 and stopping.best_epoch == 6 and history.stopped_by is None
    assert same(script.after[-1], values(model))
    script = Script([5, 4.6, 4.5, 4.51])
    stopping = EarlyStopping("loss", patience=3, minimum_change=0.5, restore_best=False)
    assert fit([script, stopping])[1].epochs == 4 and stopping.best_epoch == 1


def test_the_best_epoch_is_restored_whatever_ends_the_training():
    for epochs, other in ((3, None), (9, lambda model, history: history.epochs == 3)):
        script = Script([3, 1, 2])
        stopping = EarlyStopping("loss", patience=5)
        model, history = fit([script, stopping, other or (lambda *_: None)], epochs)
        assert history.epochs == 3 and same(script.after[1], values(model))
        assert history.stopped_by == (None if other is None else "<lambda>")
    script = Script([3, 2, 1])
    model, _ = fit([script, EarlyStopping("loss")], 3)
    assert same(script.after[2], values(model))


@pytest.mark.parametrize("router", [{"kind": "top_p", "target_active": 2},
                                    {"kind": "expert_threshold", "target_active": 2},
                                    {"kind": "top_k", "k": 2, "balance_rate": 0.01}])  # fmt: skip
def test_buffers_are_restored_too(router):
    model = classifier(router=router)
    script = Script([1, 2, 3])
    model.fit(*rows(60), epochs=3, callbacks=[script, EarlyStopping("loss")], progress=False)
    assert model.buffers and same(script.after[0], values(model))


def test_ctrl_c_keeps_the_last_step_and_restore_gives_the_best():
    script = Script([1, 2, 3])

    def interrupt(model, history):
        if history.epochs == 3:
            os.kill(os.getpid(), signal.SIGINT)

    stopping = EarlyStopping("loss")
    model, history = fit([script, stopping, interrupt])
    assert history.interrupted and history.epochs == 3 and history.stopped_by == "Ctrl-C"
    assert same(script.after[2], values(model))
    stopping.restore(model)
    assert same(script.after[0], values(model))
    with pytest.raises(ValueError, match="restore"):
        stopping.restore(model)


def test_an_object_serves_several_trainings():
    stopping = EarlyStopping("loss", patience=1)
    assert fit([Script([1, 2]), stopping])[1].epochs == 2
    assert fit([Script([9, 8, 8]), stopping])[1].epochs == 3 and stopping.best == 8


@pytest.mark.parametrize("made", [EarlyStopping, lambda monitor: Checkpoint("x", monitor)])
@pytest.mark.parametrize(
    ("monitor", "more"),
    [("validation_loss", "validation rows"), ("validation_r2", "mean_k"), ("accurracy", "loss")],
)
def test_unknown_monitors_are_refused_before_the_first_step(made, monitor, more):
    model = classifier(trained=True)
    before = state(model)
    with pytest.raises(ValueError, match=f"monitor: got '{monitor}', allowed.*{more}"):
        model.fit(*rows(), callbacks=made(monitor), progress=False)
    assert state(model) == before


def test_what_can_be_monitored_is_what_a_history_has():
    x, y = rows()
    ids = np.arange(40).reshape(4, 10) % 7
    regression = dm.Model(config(task="regression", outputs=1))
    language = dm.Model(
        {"task": "language_model", "vocabulary": 7, "width": 8, "experts": [3],
         "router": {"kind": "top_k", "k": 1}}
    )  # fmt: skip
    names = {}
    for model, data in ((classifier(), (x, y)), (regression, (x, x[:, 0])), (language, (ids, ids))):
        for held_out in (None, data):
            history = model.fit(*data, epochs=2, validation=held_out, progress=False)
            assert set(history.metric_names) == set(history.metrics)
            assert all(len(numbers) == 2 for numbers in history.metrics.values())
        names[model.task] = history.metric_names
    assert names["classification"] == (
        "loss", "total_loss", "accuracy", "mean_k",
        "validation_loss", "validation_accuracy", "validation_mean_k",
    )  # fmt: skip
    assert "accuracy" not in names["regression"] and "validation_r2" in names["regression"]
    assert "validation_perplexity" in names["language_model"]
    ignored = classifier().fit(x, np.full(len(x), -1), epochs=1, progress=False)
    assert set(ignored.metric_names) == set(ignored.metrics) == {"loss", "total_loss", "mean_k"}


@pytest.mark.parametrize("bad", [
    lambda: EarlyStopping(3), lambda: EarlyStopping(patience=0),
    lambda: EarlyStopping(patience=1.5),
    lambda: EarlyStopping(minimum_change=-1), lambda: EarlyStopping(minimum_change=math.nan),
    lambda: EarlyStopping(minimum_change="much"), lambda: Checkpoint(""), lambda: Checkpoint(3),
    lambda: Checkpoint("a\0b"), lambda: Checkpoint("x", monitor=None), lambda: Logging("log.txt"),
    lambda: Logging(None), lambda: Logging("log.csv", level=-1),
])  # fmt: skip
def test_settings_are_checked(bad):
    with pytest.raises(ValueError, match=r"got .*allowed"):
        bad()


def test_checkpoint_saves_the_best(tmp_path):
    script = Script([3, 1, 2, 0.5, 0.7])
    checkpoint = Checkpoint(tmp_path / "best-{epoch:02}-{loss:.1f}", monitor="loss")
    fit([script, checkpoint], 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-01-3.0", "best-02-1.0", "best-04-0.5"
    ]  # fmt: skip
    assert checkpoint.saved == tmp_path / "best-04-0.5"
    assert (checkpoint.best, checkpoint.best_epoch) == (0.5, 4)
    for number, name in ((1, "best-02-1.0"), (3, "best-04-0.5")):
        assert same(script.after[number], values(dm.Model.load(tmp_path / name)))


def test_checkpoint_saves_each_epoch(tmp_path):
    path = tmp_path / "latest {{1}}"
    script = Script([1, 2, 3])
    fit([script, Checkpoint(path, best_only=False)], 3)
    assert same(script.after[2], values(dm.Model.load(tmp_path / "latest {1}")))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_file(tmp_path):
    path = tmp_path / "best"
    fit(Checkpoint(path, "loss"), 1)
    old = path.read_bytes()

    def hinder(model, history):
        if history.epochs == 2:
            model.save = lambda path: (_ for _ in ()).throw(OSError("disk full"))

    with pytest.raises(OSError, match="disk full"):
        fit([Script([2, 1]), hinder, Checkpoint(path, "loss")], 2)
    assert dm.Model.load(path) and len(path.read_bytes()) == len(old)


@pytest.mark.parametrize(("path", "error"), [
    ("absent/best", FileNotFoundError), (".", IsADirectoryError), ("{epochs}", ValueError),
    ("{0}", ValueError), ("{epoch", ValueError), ("{loss:d}", ValueError),
    ("{epoch.x}", ValueError),
])  # fmt: skip
def test_paths_are_checked_before_the_first_step(tmp_path, monkeypatch, path, error):
    monkeypatch.chdir(tmp_path)
    model = classifier(trained=True)
    before = state(model)
    with pytest.raises(error, match=r"path|absent|folder"):
        model.fit(*rows(), callbacks=Checkpoint(path, "loss"), progress=False)
    assert state(model) == before and not list(tmp_path.iterdir())


def test_logging_to_csv(tmp_path):
    path = tmp_path / "log.csv"
    fit(Logging(path), 4)  # a log of other columns, which is replaced
    _, history = fit(Logging(path), 3, validation=rows(20, 2))
    with open(path, newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    assert [float(line["validation_loss"]) for line in lines] == history.metrics["validation_loss"]
    assert [int(line["steps"]) for line in lines] == [3, 6, 9]
    for line, means in zip(lines, history.mean_k, strict=True):
        assert [float(line[f"mean_k_{layer}"]) for layer in range(3)] == means
    fit(Logging(path, append=True), 2, validation=rows(20, 2))
    with open(path, newline="") as file:
        assert [line["epoch"] for line in csv.DictReader(file)] == ["1", "2", "3", "1", "2"]
    content = path.read_bytes()
    with pytest.raises(ValueError, match=r"log\.csv.*validation_loss.*allowed"):
        fit(Logging(path, append=True), 1)
    assert path.read_bytes() == content


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize(("name", "content"), [
    ("data.csv", b"price,rooms\n1,2\n"), ("data.csv", b"epoch,price\n1,2\n"), ("data.csv", b"old"),
    ("data.csv", b"\xff\x00\n"), ("data.csv", b"\n"), ("data.jsonl", b'{"price": 1}\n'),
    ("data.jsonl", b"[1, 2]\n"), ("data.jsonl", b"old"), ("data.jsonl", b"\xff\n"),
])  # fmt: skip
def test_logging_leaves_the_files_of_others(tmp_path, name, content, append):
    path = tmp_path / name
    path.write_bytes(content)
    steps = []
    with pytest.raises(ValueError, match=r"target: got .*data.*no log of a training.*epoch, steps"):
        fit([Logging(path, append=append), lambda model, history: steps.append(history.steps)], 1)
    assert path.read_bytes() == content and not steps


def test_logging_replaces_empty_files_and_logs_of_before(tmp_path):
    for name in ("log.csv", "log.jsonl"):
        path = tmp_path / name
        path.touch()
        fit(Logging(path), 3)
        fit(Logging(path), 1, validation=rows(20, 2))
        assert len(path.read_text().splitlines()) == (2 if name == "log.csv" else 1)


def test_logging_to_jsonl(tmp_path):
    path = tmp_path / "log.JSONL"
    held_out = rows(20, 2)[0], np.full(20, -1)

    def read(model, history):
        assert len(path.read_text().splitlines()) == history.epochs

    _, history = fit([Logging(path), read], 2, validation=held_out)
    fit(Logging(path, append=True), 1)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 1]
    assert [line["loss"] for line in lines[:2]] == history.loss
    assert lines[0]["validation_accuracy"] is None and "NaN" not in path.read_text()


def test_logging_to_a_logger(caplog):
    logger = logging.getLogger("training")
    with caplog.at_level(logging.DEBUG, "training"):
        fit([Logging(logger, level=logging.DEBUG), Script([1, 2, 3]), EarlyStopping("loss", 1)])
    first, second, last = caplog.messages
    assert first.startswith("epoch 1/8: loss ") and "mean_k" in second
    assert last == "stopped by EarlyStopping after 2 of 8 epochs, 6 steps"
    with pytest.raises(FileNotFoundError, match="absent"):
        fit(Logging("absent/log.csv"))


def test_files_are_closed_after_an_error(tmp_path):
    log = Logging(tmp_path / "log.csv")
    closed, opened = [], []

    class Watch(Callback):
        def close(self, model, history):
            closed.append((history.failed, history.interrupted, history.stopped_by))

    def fail(model, history):
        if history.epochs == 2:
            opened.append(log._file)
            raise RuntimeError("my own")

    with pytest.raises(RuntimeError, match="my own"):
        fit([Watch(), log, fail])
    assert opened[0].closed and closed == [(True, False, "RuntimeError")]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_every_begun_callback_is_closed_once():
    seen = []

    class Watch(Callback):
        def __init__(self, name, refuse=False, fail=False):
            self.name, self.refuse, self.fail = name, refuse, fail

        def begin(self, model, history):
            if self.refuse:
                raise ValueError("refused")
            assert history.requested_epochs == 2 and not history.steps
            seen.append(f"begin {self.name}")

        def close(self, model, history):
            seen.append(f"close {self.name}")
            if self.fail:
                raise RuntimeError("cannot close")

    fit([Watch("a"), Watch("b")], 2)
    assert seen == ["begin a", "begin b", "close b", "close a"]
    seen.clear()
    with pytest.raises(ValueError, match="refused"):
        fit([Watch("a"), Watch("b", refuse=True), Watch("c")], 2)
    assert seen == ["begin a", "close a"]
    seen.clear()
    with pytest.raises(RuntimeError, match="cannot close"):
        fit([Watch("a"), Watch("b", fail=True)], 2)
    assert seen == ["begin a", "begin b", "close b", "close a"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_classes_and_other_things_are_no_callbacks(model):
    before = state(model)
    for bad, text in ((EarlyStopping, r"class EarlyStopping.*EarlyStopping\("), (3, "3"),
                      ([Logging("x.csv"), "y"], "'y'")):  # fmt: skip
        with pytest.raises(ValueError, match=f"callbacks: got.*{text}"):
            model.fit(*rows(), callbacks=bad, progress=False)
    assert state(model) == before
