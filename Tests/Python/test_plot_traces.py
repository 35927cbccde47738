"""Figures of co-activation, K against entropy and experts by class, and the entropy itself."""

from __future__ import annotations

import warnings

import dynamoe as dm
import numpy as np
import pytest

from support.networks import classifier, layer, rows
from test_plot import saved, texts

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_warnings():
    """Let what NumPy and matplotlib warn of fail a test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def image(figure, index=0):
    """Return the shares that a map of a figure shows, NaN where it is white."""
    return np.ma.filled(figure.axes[index].get_images()[0].get_array().astype(float), np.nan)


def routing(active):
    active = np.array(active, bool)
    return dm.Routing(active, active.astype(np.float32))


def statistics(active):
    """Return the statistics of rows with this routing."""
    active = np.array(active, bool)
    count = active.shape[1]
    used = active.sum(axis=0)
    k = active.sum(axis=1)
    return dm.RoutingStatistics(
        count, len(active), np.bincount(k, minlength=count + 1), k.mean() if len(k) else 0.0, 0.0,
        used, np.zeros(count), 0.0, 0.0, int((used == 0).sum()),
        active.T.astype(np.int64) @ active.astype(np.int64), 0.0, 0.0,
    )  # fmt: skip


# --------------------------------------------------------------------------------- the entropy


@pytest.mark.parametrize("router", [
    {"kind": "threshold", "target_active": 2, "temperature": 0.5}, {"kind": "top_any"},
    {"kind": "relu", "target_active": 2}, {"kind": "top_k", "k": 2},
])  # fmt: skip
def test_the_entropy_of_each_row_has_the_mean_of_the_statistics(router):
    model = classifier(trained=True, router=router, experts=[6, 4, 1])
    x, _ = rows(50, 5)
    model.routing_stats(reset=True)
    model.forward(x)
    stats = model.routing_stats()
    entropy = model.routing_entropy(x)
    assert entropy.shape == (3, 50) and entropy.dtype == np.float64
    np.testing.assert_allclose(entropy.mean(axis=1), [s.entropy for s in stats], atol=1e-12)
    np.testing.assert_allclose(entropy[:, ::-1], model.routing_entropy(x[::-1]), atol=1e-12)
    assert entropy.min() >= 0 and np.all(entropy.max(axis=1) <= np.log([6, 4, 1]) + 1e-9)
    assert entropy[0].std() > 0
    assert model.routing_stats()[0].rows == 150


def test_the_entropy_is_that_of_the_scores():
    model = classifier(router={"kind": "dense", "gate": "raw"}, experts=[5])
    x, _ = rows(20)
    scores = model.routing_trace(x)[0].weights.astype(float)
    expected = -(scores * np.log(scores)).sum(axis=1)
    np.testing.assert_allclose(model.routing_entropy(x)[0], expected, atol=1e-5)
    assert model.routing_entropy(x[:0]).shape == (1, 0)
    before = model.routing_stats()[0].rows
    with pytest.raises(ValueError, match="NaN"):
        model.routing_entropy(np.full((2, 12), np.nan))
    assert model.routing_stats()[0].rows == before


def test_the_entropy_of_tokens():
    model = dm.Model({"task": "language_model", "vocabulary": 9, "width": 8, "experts": [4, 2],
                      "router": {"kind": "threshold", "target_active": 2}})  # fmt: skip
    ids = np.arange(18).reshape(3, 6) % 9
    entropy = model.routing_entropy(ids)
    assert entropy.shape == (2, 18)
    np.testing.assert_allclose(entropy[:, :9], entropy[:, 9:], atol=1e-12)


# ------------------------------------------------------------------------------- co-activation


def test_coactivation_shares(tmp_path):
    stats = statistics([[1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]])
    figure = dm.plot.coactivation([stats])
    saved(figure, tmp_path)
    nan = np.nan
    expected = [[nan, 50, 25, 0], [100, nan, 50, 0], [100, 100, nan, 0], [nan, nan, nan, nan]]
    np.testing.assert_allclose(image(figure), expected)
    for word in ("Co-activation", "Layer 0: 4 experts", "also use expert", "rows of the expert (%)",
                 "100", "25"):  # fmt: skip
        assert word in texts(figure)


def test_coactivation_of_models_and_layers(tmp_path):
    model = classifier(trained=True)
    figure = dm.plot.coactivation(model)
    saved(figure, tmp_path)
    for index, stats in enumerate(model.routing_stats()):
        shares = 100 * stats.coactivation / np.maximum(stats.expert_rows, 1)[:, None]
        np.fill_diagonal(shares, 0)
        np.testing.assert_allclose(np.nan_to_num(image(figure, index)), shares)
    figure = dm.plot.coactivation(layer(trained=True))
    saved(figure, tmp_path)
    assert "Layer 0: 5 experts" in texts(figure)
    axes = matplotlib.figure.Figure().subplots(3)
    assert dm.plot.coactivation(model, axes=axes) is axes[0].figure
    with pytest.raises(ValueError, match="axes: got 2, allowed is one for each of 3 layers"):
        dm.plot.coactivation(model, axes=axes[:2])


def test_nothing_to_coactivate(tmp_path):
    for source, text in (
        (classifier(), "no rows"),
        ([statistics(np.zeros((0, 3)))], "no rows"),
        ([statistics([[1], [1]])], "no other expert"),
    ):
        figure = dm.plot.coactivation(source)
        saved(figure, tmp_path)
        assert text in texts(figure)
        for draw in (dm.plot.k_histogram, dm.plot.expert_load):
            saved(draw(source), tmp_path)
    for bad in ([], None, 3, ["x"], "x"):
        for draw in (dm.plot.coactivation, dm.plot.k_histogram, dm.plot.expert_load):
            with pytest.raises(ValueError, match="source"):
                draw(bad)


# ----------------------------------------------------------------------------- K and entropy


def test_k_against_entropy_draws_means_and_spreads(tmp_path):
    active = np.zeros((8, 3), bool)
    active[:, 0] = True
    active[4:, 1] = active[6:, 2] = True  # K: 1 1 1 1 2 2 3 3
    entropy = np.arange(8) / 10
    figure = dm.plot.k_against_entropy([routing(active)], entropy, bins=2)
    saved(figure, tmp_path)
    (line,) = [line for line in figure.axes[0].get_lines() if len(line.get_xdata()) == 2
               and line.get_marker() == "o"]  # fmt: skip
    np.testing.assert_allclose(line.get_xdata(), [0.15, 0.55])
    np.testing.assert_allclose(line.get_ydata(), [1, 2.5])
    bars = figure.axes[0].containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(np.ptp(bars[1], axis=0), [0, 1])
    shown = texts(figure)
    for word in ("K against routing entropy", "rank correlation", "Layer 0: r = +0.",
                 "routing entropy (nats)", "mean ± s. d."):  # fmt: skip
        assert word in shown
    points = figure.axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], entropy)
    np.testing.assert_array_equal(np.round(points[:, 1]), active.sum(axis=1))


def test_rank_correlation():
    from dynamoe.plot._traces import rank_correlation

    assert rank_correlation(np.array([1, 2, 3]), np.array([1, 10, 100])) == pytest.approx(1)
    assert rank_correlation(np.array([1, 2, 3]), np.array([3, 2, 1])) == pytest.approx(-1)
    # Ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4: covariance 4.5, sums of squares 4.5 and 5.
    value = rank_correlation(np.array([1, 5, 5, 9]), np.array([0, 7, 4, 8]))
    assert value == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert np.isnan(rank_correlation(np.array([2, 2]), np.array([1, 2])))
    assert np.isnan(rank_correlation(np.array([]), np.array([])))


def test_k_against_entropy_of_a_model(tmp_path):
    model = classifier(trained=True)
    x, _ = rows(200)
    trace, entropy = model.routing_trace(x), model.routing_entropy(x)
    figure = dm.plot.k_against_entropy(trace, entropy)
    saved(figure, tmp_path)
    figure = dm.plot.k_against_entropy(trace, entropy[0], label="entropy of pixels (bits)")
    assert "K against entropy of pixels" in texts(figure) and "(bits)" in texts(figure)
    axes = matplotlib.figure.Figure().subplots()
    assert dm.plot.k_against_entropy(trace[:1], entropy[:1], axes=axes) is axes.figure


def test_degenerate_k_and_entropy(tmp_path):
    constant = routing(np.ones((50, 2)))
    for trace, entropy, text in (
        ([constant], np.arange(50), "r undefined"),
        ([constant], np.zeros(50), "r undefined"),
        ([routing(np.zeros((0, 4)))], np.zeros((1, 0)), "no rows"),
        ([routing([[1, 0]])], [0.5], "r undefined"),
    ):
        figure = dm.plot.k_against_entropy(trace, entropy)
        saved(figure, tmp_path)
        assert text in texts(figure)


@pytest.mark.parametrize(("entropy", "more", "name"), [
    (np.zeros(3), {}, "entropy"), (np.zeros((2, 4)), {}, "entropy"), (["a"] * 4, {}, "entropy"),
    ([0, 1, 2, np.nan], {}, "entropy"), (np.zeros(4), {"bins": 0}, "bins"),
    (np.zeros(4), {"bins": 2.5}, "bins"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(entropy, more, name):
    with pytest.raises(ValueError, match=f"{name}: got"):
        dm.plot.k_against_entropy([routing(np.ones((4, 2)))], entropy, **more)


# --------------------------------------------------------------------------- experts by class


def test_experts_by_class(tmp_path):
    active = [[1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, 1]]
    trace = [routing(active)]
    figure = dm.plot.experts_by_class(trace, [0, 0, 2, -1, 2], ["zero", "one", "two", "three"])
    saved(figure, tmp_path)
    nan = [np.nan] * 3
    np.testing.assert_allclose(image(figure), [[100, 50, 0], nan, [50, 50, 100], nan])
    for word in ("Of the rows of a class", "three", "class", "expert", "rows of the class (%)"):
        assert word in texts(figure)
    assert image(dm.plot.experts_by_class(trace, [0, 0, 2, -1, 2])).shape == (3, 3)
    figure = dm.plot.experts_by_class(trace, [-1] * 5)
    saved(figure, tmp_path)
    saved(dm.plot.experts_by_class([routing(np.zeros((0, 2)))], np.zeros(0, int)), tmp_path)


def test_long_names_stay_apart():
    long = [f"a name that is far too long {number} to stand there" for number in range(3)]
    figure = dm.plot.experts_by_class([routing(np.eye(3))], [0, 1, 2], long)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == 3 and max(map(len, labels)) <= 27
    assert all("…" in label and label.endswith("there") for label in labels)
    names = ["T-shirt", "an ankle boot of soft brown leather", "short"]
    figure = dm.plot.experts_by_class([routing(np.eye(3))], [0, 1, 2], names)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels[0] == "T-shirt" and labels[1].startswith("an ankle")


def test_classes_that_do_not_fit():
    trace = [routing(np.eye(3))]
    for classes, names, text in (
        ([0, 1], None, "classes"), ([0, 1, 1.5], None, "classes"), ([0, 1, -2], None, "classes"),
        ([0, 1, 2], ["a", "b"], "classes"), ([0, 0, 0], [], "names"), ([0, 0, 0], "abc", "names"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{text}: got"):
            dm.plot.experts_by_class(trace, classes, names)
    for bad in ([], None, [3], [trace[0], routing(np.eye(2))]):
        with pytest.raises(ValueError, match="trace: got"):
            dm.plot.experts_by_class(bad, [0, 1, 2])


# ---------------------------------------------------------------------------------- legibility


def test_many_layers_and_experts_are_legible():
    """No tick label overlaps its neighbour, and no figure is wider than a notebook."""
    generator = np.random.default_rng(0)
    trace = [routing(generator.random((300, 64)) < 0.05) for _ in range(12)]
    stats = [statistics(layer.active) for layer in trace]
    classes = np.arange(300) % 26
    names = [f"class number {number} of them" for number in range(26)]
    for figure in (
        dm.plot.experts_by_class(trace, classes, names),
        dm.plot.coactivation(stats),
        dm.plot.expert_load(stats),
        dm.plot.k_histogram(stats),
        dm.plot.k_against_entropy(trace, generator.random((12, 300))),
        dm.plot.experts({"a": [64] * 12, "b": list(range(1, 13))}),
    ):
        assert figure.get_figwidth() <= 12
        figure.draw_without_rendering()
        for axes in figure.axes:
            for axis, start in ((axes.xaxis, "x0"), (axes.yaxis, "y0")):
                labels = [label.get_window_extent() for label in axis.get_ticklabels()
                          if label.get_visible() and label.get_text()]  # fmt: skip
                labels.sort(key=lambda box: getattr(box, start))
                ends = [getattr(box, start.replace("0", "1")) for box in labels]
                starts = [getattr(box, start) for box in labels]
                assert all(b >= a - 1.5 for a, b in zip(ends, starts[1:], strict=False))
