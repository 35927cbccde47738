"""`Model.fit`: history, progress, callbacks, Ctrl-C."""

from __future__ import annotations

import builtins
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading

import dynamoe as dm
import numpy as np
import pytest

from support.networks import ROWS, classifier, config, rows, state


def test_history(model):
    x, y = rows(200)
    history = model.fit(x, y, epochs=3, batch_size=64, validation=rows(50, 2), progress=False)
    assert isinstance(history, dm.History)
    assert history.epochs == len(history) == 3 and history.steps == 3 * 4
    assert len(history.loss) == len(history.accuracy) == len(history.seconds) == 3
    assert np.shape(history.mean_k) == (3, 3) and min(map(min, history.mean_k)) >= 1
    assert [set(result) for result in history.validation] == [
        {"loss", "accuracy", "rows", "mean_k"}
    ] * 3
    assert not history.interrupted
    plain = json.loads(json.dumps(history.as_dict()))
    assert plain["epochs"] == 3 and plain["experts"] == [6, 4, 3]
    assert len(plain["validation"][0]["mean_k"]) == 3
    assert "3 epochs" in repr(history) and "validation accuracy" in repr(history)


def test_fit_is_train_batch_in_a_loop():
    x, y = rows(100)
    fitted, looped = classifier(), classifier()
    history = fitted.fit(x, y, epochs=2, batch_size=32, shuffle=False, progress=False)
    for _ in range(2):
        looped.routing_stats(reset=True)
        losses = []
        for start in range(0, 100, 32):
            looped.train_batch(x[start : start + 32], y[start : start + 32])
            losses.append(looped.losses["task"] * len(y[start : start + 32]))
    assert history.loss[-1] == pytest.approx(sum(losses) / 100, rel=1e-12)
    for name, values in {**fitted.parameters, **fitted.buffers}.items():
        assert np.array_equal(values, {**looped.parameters, **looped.buffers}[name]), name
    assert fitted.routing_stats()[0].rows == 100


def test_training_accuracy_is_that_of_the_batches_before_their_step():
    x, y = rows(60)
    some = y.copy()
    some[::4] = -1
    model = classifier()
    right = counted = 0
    twin = classifier()
    for start in range(0, 60, 20):
        batch = slice(start, start + 20)
        logits = classifier_forward(twin, x[batch])
        right += (logits.argmax(axis=1) == some[batch]).sum()
        counted += (some[batch] >= 0).sum()
        twin.train_batch(x[batch], some[batch])
    history = model.fit(x, some, epochs=1, batch_size=20, shuffle=False, progress=False)
    assert history.accuracy == [pytest.approx(right / counted)]


def classifier_forward(model, x):
    """Return the logits of a training forward of a copy of `model`, which stays as it is."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/m")
        return dm.Model.load(f"{folder}/m").forward(x, training=True)


def test_the_seed_decides_the_order():
    x, y = rows(100)
    states = []
    for seed in (0, 0, 1):
        model = classifier()
        model.fit(x, y, epochs=2, batch_size=10, seed=seed, progress=False)
        states.append(state(model))
    assert states[0] == states[1] != states[2]


def test_weights_and_accuracy():
    x, y = rows(100)
    model = classifier()
    history = model.fit(x, y, epochs=1, sample_weight=np.ones(100), progress=False)
    plain = classifier().fit(x, y, epochs=1, progress=False)
    assert history.loss[0] == pytest.approx(plain.loss[0], rel=1e-5)
    assert history.accuracy == plain.accuracy
    only_some = np.zeros(100)
    only_some[:10] = 3
    model.fit(x, y, epochs=1, sample_weight=only_some, progress=False)


def test_callbacks_see_each_epoch_and_can_stop():
    x, y = rows(100)
    seen = []

    def watch(model, history):
        seen.append((model.parameter_count, history.epochs))

    history = classifier().fit(
        x, y, epochs=9, callbacks=[watch, lambda m, h: h.epochs == 4], progress=False
    )
    assert history.epochs == 4 and [epoch for _, epoch in seen] == [1, 2, 3, 4]
    assert not history.interrupted
    classifier().fit(x, y, epochs=2, callbacks=watch, progress=False)
    assert len(seen) == 6


def test_errors_of_callbacks_pass(model):
    def fail(model, history):
        raise RuntimeError("my own")

    with pytest.raises(RuntimeError, match="my own"):
        model.fit(*rows(), callbacks=fail, progress=False)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("bar", ["tqdm", "plain"])
def test_progress_shows_loss_accuracy_and_mean_k(model, capsys, monkeypatch, bar):
    if bar == "plain":
        original = builtins.__import__

        def without_tqdm(name, *rest, **more):
            if name.split(".")[0] == "tqdm":
                raise ImportError(name)
            return original(name, *rest, **more)

        monkeypatch.setattr(builtins, "__import__", without_tqdm)
    else:
        pytest.importorskip("tqdm")
    model.fit(*rows(), epochs=2, validation=rows(20, 3))
    shown = capsys.readouterr().err
    for word in ("epoch 2/2", "loss ", "accuracy ", "mean K ", "valid "):
        assert word in shown
    assert ("|" in shown) == (bar == "tqdm")


def test_no_progress_is_silent(model, capsys):
    model.fit(*rows(), epochs=2, progress=False)
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_stops_after_the_running_batch(capsys):
    x, y = rows(1000)
    model = classifier()
    twin = classifier()
    count = 0
    train_batch = model.train_batch

    def interrupted(*arguments, **more):
        nonlocal count
        count += 1
        if count == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return train_batch(*arguments, **more)

    model.train_batch = interrupted
    history = model.fit(x, y, epochs=5, batch_size=100, shuffle=False, progress=False)
    assert history.interrupted and history.steps == 7 and history.epochs == 0
    assert "0 of 5 epochs" in repr(history) and "stopped by Ctrl-C" in repr(history)
    shown = capsys.readouterr().err
    assert "Ctrl-C" in shown and "step 7" in shown
    for start in range(0, 700, 100):
        twin.train_batch(x[start : start + 100], y[start : start + 100])
    for name, values in twin.parameters.items():
        assert np.array_equal(values, model.parameters[name]), name
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        signal.sigtimedwait([], 1)


def test_ctrl_c_of_a_real_process(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            """
            import dynamoe as dm, sys
            x, y = dm.data.digits()
            model = dm.Model({"task": "classification", "inputs": 64, "outputs": 10, "width": 32,
                "experts": [4, 2], "router": {"kind": "top_k", "k": 1}})
            def told(model, history):
                print("epoch", history.epochs, flush=True)
            history = model.fit(x, y, epochs=100000, callbacks=told, progress=False)
            assert history.interrupted
            model.save(sys.argv[1])
            print("saved", history.steps)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, script, tmp_path / "model"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "epoch 1\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "saved" in output and "Ctrl-C" in errors
    assert dm.Model.load(tmp_path / "model").parameter_count


def test_fit_in_another_thread():
    x, y = rows(100)
    results = []
    worker = threading.Thread(
        target=lambda: results.append(classifier().fit(x, y, epochs=1, progress=False))
    )
    worker.start()
    worker.join()
    assert results[0].epochs == 1


def test_divergence_is_reported():
    x, y = rows(200)
    model = classifier(optimizer={"kind": "sgd", "lr": 1e30}, router={"kind": "dense"})
    with pytest.raises((dm.DynaMoEError, ValueError)):
        model.fit(x, y, epochs=50, progress=False)


def test_inputs_of_every_kind():
    x, y = rows()
    expected = classifier()
    expected.fit(x, y, epochs=1, batch_size=7, progress=False)
    other = classifier()
    other.fit(
        x.astype(">f8"), y.tolist(), epochs=np.int64(1), batch_size=np.uint8(7), progress=False
    )
    assert state(expected) == state(other)
    assert dm.Model(config()).fit(x, y, epochs=1, progress=False).steps == -(-ROWS // 128)


def test_a_history_says_everything_in_json():
    x, y = rows()
    held_out = x, np.full(len(x), -1)
    history = classifier().fit(x, y, epochs=2, validation=held_out, progress=False)
    with pytest.raises(ValueError):
        json.dumps(history.as_dict(), allow_nan=False)
    read = json.loads(history.to_json(indent=2))
    assert read["validation"][0]["accuracy"] is None and "NaN" not in history.to_json()
    assert read["loss"] == history.loss and read["requested_epochs"] == read["epochs"] == 2
    assert read["stopped_by"] is None and not any(name.startswith("_") for name in read)
    read = history.as_dict()
    read["loss"].append(0.0)
    assert len(history.loss) == 2


def test_the_repr_of_a_history_names_the_best_epoch():
    history = dm.History("classification", [2], requested_epochs=3)
    assert repr(history) == "History(0 of 3 epochs, 0 steps)"
    history.loss, history.total_loss, history.accuracy = [2.0, 1.0], [2.0, 1.0], [0.5, 0.75]
    history.mean_k, history.steps, history.stopped_by = [[1.0], [1.0]], 20, "Ctrl-C"
    history.validation = [{"loss": 3.0, "accuracy": 0.5}, {"loss": 4.0, "accuracy": 0.625}]
    assert repr(history) == (
        "History(2 of 3 epochs, 20 steps, loss 1, accuracy 0.75, "
        "validation loss 4 (best 3 in epoch 1), validation accuracy 0.625, stopped by Ctrl-C)"
    )
