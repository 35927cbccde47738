"""Figures: they are made, they are saved, they say what is missing."""

from __future__ import annotations

import builtins
import subprocess
import sys

import dynamoe as dm
import numpy as np
import pytest

from support.networks import classifier, config, rows

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(scope="module")
def trained():
    model = classifier()
    history = model.fit(*rows(100), epochs=3, validation=rows(50, 2), progress=False)
    return model, history


def saved(figure, tmp_path):
    """Return the pixels of a figure after saving it, as a person would see it."""
    from matplotlib.image import imread

    path = tmp_path / "figure.png"
    figure.savefig(path)
    pixels = imread(path)
    assert pixels.shape[0] > 100 and np.ptp(pixels) > 0.5
    return pixels


def texts(figure):
    return " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_visible())


def test_overview(trained, tmp_path):
    figure = dm.plot.overview(*trained, title="A title")
    saved(figure, tmp_path)
    shown = texts(figure)
    for word in ("A title", "Loss", "Accuracy", "Mean K", "Expert load", "rows (%)", "epoch",
                 "Layer 2: 3 experts", "cross-entropy (nats)"):  # fmt: skip
        assert word in shown
    assert (tmp_path / "figure.png").stat().st_size < 1_000_000


def test_history(trained, tmp_path):
    _, history = trained
    figure = dm.plot.history(history)
    saved(figure, tmp_path)
    assert "validation" in texts(figure)
    saved(history.plot(), tmp_path)
    axes = matplotlib.figure.Figure().subplots()
    assert dm.plot.history(history, axes=axes) is axes.figure
    lines = axes.get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), history.loss)


def test_a_regression_has_no_accuracy(tmp_path):
    x, _ = rows(60)
    model = dm.Model(config(task="regression", outputs=1))
    history = model.fit(x, x[:, 0], epochs=2, progress=False)
    for figure in (dm.plot.history(history), dm.plot.overview(model, history)):
        saved(figure, tmp_path)
        assert "mean squared error" in texts(figure) and "Accuracy" not in texts(figure)


def test_histograms_and_load(trained, tmp_path):
    model, _ = trained
    for figure in (
        dm.plot.k_histogram(model),
        dm.plot.k_histogram(model.routing_stats()),
        dm.plot.expert_load(model),
        dm.plot.expert_load(classifier()),
    ):
        saved(figure, tmp_path)
    stats = model.routing_stats()
    figure = dm.plot.k_histogram(stats)
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    np.testing.assert_allclose(heights, 100 * stats[0].k_histogram / stats[0].rows)
    image = dm.plot.expert_load(stats).axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(image[1, :4], 100 * stats[1].expert_rows / stats[1].rows)


def labels(axis, figure):
    figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    places = [place for place in axis.get_majorticklocs() if low <= place <= high]
    return axis.get_major_formatter().format_ticks(places)


def test_layers_and_experts_count_from_0(trained):
    model, history = trained
    numbers = [str(number) for number in range(6)]
    for draw, columns in ((dm.plot.expert_load, model.experts[0]), (dm.plot.coactivation, 6)):
        figure = draw(model)
        assert labels(figure.axes[0].xaxis, figure) == numbers[:columns]
    figure = dm.plot.expert_load(model)
    assert labels(figure.axes[0].yaxis, figure) == numbers[: len(model.experts)]
    axes = matplotlib.figure.Figure().subplots()
    assert labels(axes.yaxis, dm.plot.k_histogram(model, axes=axes))[0] == "0"
    figure = dm.plot.experts([4, 3, 2])
    assert labels(figure.axes[0].xaxis, figure) == numbers[:3]
    assert [bar.get_center()[0] for bar in figure.axes[0].patches] == pytest.approx([0, 1, 2])
    shown = texts(dm.plot.overview(model, history))
    assert "layer 0" in shown and f"layer {len(model.experts)}" not in shown


def test_many_layers(tmp_path):
    model = classifier(experts=[40] + [3] * 15, width=4, hidden=2)
    history = model.fit(*rows(), epochs=13, progress=False)
    saved(dm.plot.overview(model, history), tmp_path)
    saved(dm.plot.k_histogram(model), tmp_path)


def test_schedules(tmp_path):
    names = ["uniform", "descending", "ascending", "pyramid", "valley", "wave"]
    counts = {name: dm.schedule(name, 5, 2, 9) for name in names}
    figure = dm.plot.experts(counts)
    saved(figure, tmp_path)
    assert "pyramid" in texts(figure)
    saved(dm.plot.experts([4, 3, 2]), tmp_path)
    axes = matplotlib.figure.Figure().subplots()
    assert dm.plot.experts(counts, axes=axes) is axes.figure
    for bad in ({}, {"a": []}, {"a": [0]}, {"a": [1.5]}, {"a": "x"}):
        with pytest.raises(ValueError, match="schedules"):
            dm.plot.experts(bad)
    for bad in ("abc", None, [], [0], 3):
        with pytest.raises(ValueError, match=r"^schedules: got .*positive integers.*dict"):
            dm.plot.experts(bad)


def test_accuracy_against_k(tmp_path):
    points = [(4, 0.97), (1.5, 0.9), (2, 0.95)]
    figure = dm.plot.accuracy_against_k(points, trained_at=2)
    saved(figure, tmp_path)
    shown = texts(figure)
    for word in ("accuracy (%)", "mean K, experts used by a row", "trained at this K"):
        assert word in shown
    curve, mark = figure.axes[0].get_lines()
    np.testing.assert_allclose(curve.get_xdata(), [1.5, 2, 4])
    np.testing.assert_allclose(curve.get_ydata(), [90, 95, 97])
    assert list(mark.get_xdata()) == [2, 2]
    axes = matplotlib.figure.Figure().subplots()
    assert dm.plot.accuracy_against_k(np.array([[1, 1]]), axes=axes) is axes.figure
    assert "trained" not in texts(axes.figure) and "Accuracy against K" in texts(axes.figure)
    assert "A title" in texts(dm.plot.accuracy_against_k(points, title="A title"))
    wrong = ([], [1, 2], [(1, 2, 3)], [(1, 1.01)], [(1, -0.1)], [(-1, 0.5)], [(float("nan"), 0.5)],
             [("a", "b")], [(1, 0.5), (2,)])  # fmt: skip
    for bad in wrong:
        with pytest.raises(ValueError, match="points"):
            dm.plot.accuracy_against_k(bad)
    for bad in ("two", -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="trained_at"):
            dm.plot.accuracy_against_k(points, trained_at=bad)


@pytest.mark.parametrize("wrong", [None, "x", {"loss": [1.0]}, [0.5]])
def test_what_is_no_history_is_named(trained, wrong):
    for draw in (dm.plot.history, lambda value: dm.plot.overview(trained[0], value)):
        with pytest.raises(ValueError, match=r"^training: got .*allowed is .*History"):
            draw(wrong)


def test_nothing_to_draw():
    with pytest.raises(ValueError, match="epoch"):
        dm.plot.history(dm.History("classification", [2]))


def test_without_matplotlib(trained, monkeypatch):
    original = builtins.__import__

    def without(name, *rest, **more):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return original(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"dynamoe\[plot\]"):
        dm.plot.overview(*trained)


def test_the_package_needs_neither_matplotlib_nor_tqdm():
    script = (
        "import sys; sys.modules['matplotlib'] = sys.modules['tqdm'] = None; import dynamoe as dm;"
        "x, y = dm.data.digits(); m = dm.Model({'task': 'classification', 'inputs': 64,"
        "'outputs': 10, 'width': 8, 'experts': [2], 'router': {'kind': 'dense'}});"
        "print(m.fit(x, y, epochs=1).epochs)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "1\n" and "epoch 1/1 loss" in done.stderr, done.stderr


def test_importing_draws_in_nothing():
    script = "import dynamoe, sys; print('matplotlib' in sys.modules, 'tqdm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False False\n", done.stderr


@pytest.mark.parametrize(
    "loss", [[0.5], [2.0, 0.9], [3.0, 0.2, 0.05], list(10.0 ** -np.arange(40))]
)
def test_every_loss_has_numbers_at_its_axes(loss):
    history = dm.History("regression", [2])
    history.loss = history.total_loss = loss
    figure = dm.plot.history(history)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    (low, high), (first, last) = sorted(axes.get_ylim()), axes.get_xlim()
    values = [tick for tick in axes.yaxis.get_majorticklocs() if low <= tick <= high]
    epochs = [tick for tick in axes.xaxis.get_majorticklocs() if first <= tick <= last]
    assert 1 <= len(values) <= 12 and (len(loss) == 1 or len(values) >= 2)
    assert epochs and all(epoch == round(epoch) for epoch in epochs)
