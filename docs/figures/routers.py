"""Draw what each kind of router does to K, and print the numbers as a table.

``python docs/figures/routers.py`` trains one small network per router on the digits inside the
package; with ``--folder DIR`` on Fashion-MNIST from there. Needs the package, NumPy and matplotlib.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dynamoe as dm
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

EXPERTS = [8, 8]
# The first router of a kind is the one that is drawn.
ROUTERS: list[dict[str, Any]] = [
    {"kind": "percentile", "percentile": 0.75},
    {"kind": "percentile", "percentile": 0.5, "temperature": 0.5, "noise": 0.1},
    {"kind": "threshold", "target_active": 2},
    {"kind": "expert_threshold", "target_active": 2},
    {"kind": "top_k", "k": 2},
    {"kind": "top_p", "p": 0.4},
    {"kind": "top_p", "target_active": 2},
    {"kind": "top_any"},
    {"kind": "top_any", "scale": 8},
    {"kind": "relu", "target_active": 2},
    {"kind": "relu"},
    {"kind": "dense"},
]
BINS = 10
INK = "#222222"
# Okabe and Ito (2008): told apart without red or green; the layers also differ in hatch and marker.
COLOURS = ("#0072B2", "#E69F00")
HATCHES = ("", "////")
MARKERS = ("o", "s")
STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8a8a",
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
}


@dataclass(frozen=True)
class Data:
    """Rows to train on and rows that training never sees."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    epochs: int
    batch_size: int


@dataclass(frozen=True)
class Result:
    """What a trained network did with the held-out rows; arrays are [rows, layers]."""

    router: dict[str, Any]
    accuracy: float
    flops: float
    layers: list[dm.RoutingStatistics]
    entropy: np.ndarray
    k: np.ndarray
    seconds: float

    @property
    def correlations(self) -> list[float | None]:
        """Rank correlation of entropy and K, for each layer."""
        pairs = zip(self.entropy.T, self.k.T, strict=True)
        return [rank_correlation(entropy, k) for entropy, k in pairs]


# What is drawn: whose, which layer, in which style, under which name.
Shown = tuple[Result, int, int, str]


def load(folder: str | None) -> Data:
    """Return Fashion-MNIST from a folder, or the digits of the package."""
    if folder is None:
        parts = dm.data.stratified_split(*dm.data.digits(), test_share=0.2, seed=0)
        return Data("handwritten digits", *parts, epochs=20, batch_size=64)
    read = dm.data.load("fashion_mnist", folder)
    parts = (read.x_train, read.y_train, read.x_test, read.y_test)
    return Data("Fashion-MNIST", *parts, epochs=3, batch_size=128)


def train(data: Data, router: dict[str, Any], seed: int = 0, **more: Any) -> dm.Model:
    """Return a network of two layers of eight experts, trained; `more` replaces settings."""
    steps = data.epochs * -(-len(data.x_train) // data.batch_size)
    config = {
        "task": "classification",
        "inputs": data.x_train.shape[1],
        "outputs": 10,
        "width": 64,
        "hidden": 64,
        "experts": EXPERTS,
        "router": router,
        "losses": {"balance": 0.01},
        "optimizer": {"lr": 1e-3, "warmup": steps // 20, "total": steps},
    }
    model = dm.Model({**config, **more}, seed=seed)
    model.fit(
        data.x_train,
        data.y_train,
        data.epochs,
        data.batch_size,
        seed=seed,
        progress=False,
    )
    return model


def by_row(model: dm.Model, x: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return entropy, K and whether a bound changed K, [rows, layers], one row at a time.

    At evaluation a row's routing does not depend on its company, so the statistics of one row are
    that row's entropy and K.
    """
    found = np.empty((3, len(x), len(model.experts)))
    model.routing_stats(reset=True)
    for index in range(len(x)):
        model.forward(x[index : index + 1])
        for layer, seen in enumerate(model.routing_stats(reset=True)):
            found[:, index, layer] = seen.entropy, seen.mean_k, seen.limited_share
    return found[0], found[1], found[2] > 0


def ranks(values: Any) -> np.ndarray:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place])


def rank_correlation(a: Any, b: Any) -> float | None:
    """Return Spearman's rank correlation; None when one of the two never changes."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def measure(data: Data, router: dict[str, Any]) -> Result:
    """Train with a router and look at the held-out rows."""
    started = time.perf_counter()
    model = train(data, router)
    seconds = time.perf_counter() - started
    model.routing_stats(reset=True)
    accuracy = model.evaluate(data.x_test, data.y_test)["accuracy"]
    layers, flops = model.routing_stats(), model.flops_per_row
    entropy, k, _ = by_row(model, data.x_test)
    assert np.allclose(k.mean(axis=0), [layer.mean_k for layer in layers])
    return Result(router, accuracy, flops, layers, entropy, k, seconds)


def setting(router: dict[str, Any]) -> str:
    """Return a router in words: the kind, then what was set."""
    rest = [f"{key} = {value}" for key, value in router.items() if key != "kind"]
    return ", ".join([router["kind"], *rest])


def table(results: list[Result]) -> str:
    """Return the numbers as a Markdown table; two numbers in a cell are the two layers."""

    def pair(values: Any, form: str) -> str:
        return " / ".join("none" if value is None else format(value, form) for value in values)

    lines = [
        "| router | accuracy | mean K | variance of K | rows changed by a bound "
        + "| correlation of entropy and K | busiest expert / mean | kFLOP per row |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        cells = (
            f"`{setting(result.router)}`",
            f"{100 * result.accuracy:.1f} %",
            pair((layer.mean_k for layer in result.layers), ".2f"),
            pair((layer.variance_k for layer in result.layers), ".2f"),
            pair((100 * layer.limited_share for layer in result.layers), ".1f") + " %",
            pair(result.correlations, "+.2f"),
            pair((layer.load_imbalance for layer in result.layers), ".2f"),
            f"{result.flops / 1000:.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def counts(results: list[Result]) -> str:
    """Return how many held-out rows used 0, 1, ... N experts in the second layer, in Markdown."""
    columns = range(max(EXPERTS) + 1)
    lines = [
        f"| rows by K, second layer | {' | '.join(f'K = {k}' for k in columns)} |",
        f"|---|{'---|' * len(columns)}",
    ]
    for result in results:
        cells = " | ".join(f"{rows:,}" for rows in result.layers[1].k_histogram)
        lines.append(f"| `{setting(result.router)}` | {cells} |")
    return "\n".join(lines)


def draw_histogram(axes: Any, shown: list[Shown]) -> None:
    """Draw the share of rows by K, side by side."""
    width = 0.8 / len(shown)
    for place, (result, layer, style, name) in enumerate(shown):
        seen = result.layers[layer]
        axes.bar(
            np.arange(seen.experts + 1) + (place - (len(shown) - 1) / 2) * width,
            100 * seen.k_histogram / seen.rows,
            width,
            color=COLOURS[style],
            hatch=HATCHES[style],
            edgecolor="white",
            linewidth=0,
            label=f"{name}: mean {seen.mean_k:.2f}, variance {seen.variance_k:.2f}",
        )
    axes.set_xticks(range(max(EXPERTS) + 1))
    axes.set_xlabel("K, experts used by a row")
    axes.set_ylabel("share of rows (%)")
    axes.set_ylim(0, 100)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)


def draw_entropy(axes: Any, shown: list[Shown]) -> None:
    """Draw the mean K of rows by routing entropy; whiskers are one standard deviation of K."""
    equal, first, top = np.log(max(EXPERTS)), [], 4.0
    for result, layer, style, name in shown:
        entropy, k = result.entropy[:, layer], result.k[:, layer]
        groups = np.array_split(np.argsort(entropy, kind="stable"), BINS)
        places = [entropy[group].mean() for group in groups]
        means = np.array([k[group].mean() for group in groups])
        deviations = np.array([k[group].std() for group in groups])
        correlation = result.correlations[layer]
        words = "K never changes" if correlation is None else f"rank correlation {correlation:+.2f}"
        axes.errorbar(
            places,
            means,
            deviations,
            color=COLOURS[style],
            marker=MARKERS[style],
            markersize=4,
            linewidth=1.5,
            elinewidth=0.8,
            capsize=2,
            label=f"{name}: {words}",
        )
        first.append(places[0])
        top = max(top, np.ceil((means + deviations).max()))
    axes.axvline(equal, color=INK, linewidth=0.8, linestyle=":")
    place = {
        "xytext": (3, 0),
        "textcoords": "offset points",
        "rotation": 90,
        "fontsize": 7,
    }
    axes.annotate("ln 8: all scores equal", (equal, 0.15), **place)
    span = equal - min(first)
    axes.set_xlim(min(first) - 0.06 * span, equal + 0.06 * span)
    axes.set_ylim(0, 1.3 * top)
    axes.set_yticks(np.arange(top + 1))
    axes.set_xlabel("routing entropy of a row (nats)")
    axes.set_ylabel("mean K, experts used by a row")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(f"Mean K by entropy, {BINS} equal bins of rows", fontsize=10)
    axes.legend(loc="upper left", fontsize=8, borderaxespad=0.2)


def save(figure: Any, path: Path) -> None:
    """Write a figure as a small PNG."""
    figure.savefig(path, dpi=110, facecolor="white", metadata={"Software": None})
    plt.close(figure)
    assert path.stat().st_size < 150_000, f"{path} is larger than 150 KB"
    print(f"Figure: {path}")


def title(figure: Any, text: str) -> None:
    """Write a line above all panels."""
    figure.suptitle(text, x=0.01, ha="left", weight="bold", size=11)


def both(result: Result) -> list[Shown]:
    """Return both layers of a network."""
    return [(result, layer, layer, f"layer {layer + 1}") for layer in range(len(EXPERTS))]


def draw_router(data: Data, result: Result, path: Path) -> None:
    """Draw one router: histogram of K, and K against entropy."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.3), layout="constrained")
    draw_histogram(left, both(result))
    left.set_ylim(0, 128)
    left.set_yticks(range(0, 101, 20))
    left.set_title("How many experts a row uses")
    left.legend(loc="upper left", fontsize=8, borderaxespad=0.2)
    draw_entropy(right, both(result))
    rows = f"{len(data.x_test):,} held-out rows"
    title(figure, f"{setting(result.router)}: {data.name}, {rows}")
    save(figure, path)


def draw_trap(data: Data, percentile: Result, threshold: Result, path: Path) -> None:
    """Draw the percentile beside the threshold, second layer of each."""
    figure, panels = plt.subplots(1, 3, figsize=(10.6, 3.4), layout="constrained")
    shown: list[Shown] = [
        (percentile, 1, 0, "percentile"),
        (threshold, 1, 1, "threshold"),
    ]
    for axes, one in zip(panels, shown, strict=False):
        seen = one[0].layers[1]
        draw_histogram(axes, [one])
        axes.set_title(
            f"{setting(one[0].router)}\nmean {seen.mean_k:.2f}, variance {seen.variance_k:.2f}"
        )
    draw_entropy(panels[2], shown)
    rows = f"{len(data.x_test):,} held-out rows"
    title(figure, f"The percentile trap: second layer, {data.name}, {rows}")
    save(figure, path)


def draw_overview(data: Data, results: list[Result], path: Path) -> None:
    """Draw the K histograms of all kinds."""
    figure, panels = plt.subplots(
        2, 4, figsize=(10.6, 4.8), sharex=True, sharey=True, layout="constrained"
    )
    for axes, result in zip(panels.flat, results, strict=True):
        draw_histogram(axes, both(result))
        means = " and ".join(f"{layer.mean_k:.2f}" for layer in result.layers)
        axes.set_title(f"{setting(result.router)}\nmean K {means}", fontsize=9)
        axes.label_outer()
    bars = [container.patches[2] for container in panels.flat[1].containers]
    names = [f"layer {layer + 1}" for layer in range(len(EXPERTS))]
    figure.legend(bars, names, loc="upper right", ncols=2, bbox_to_anchor=(1, 1.01))
    title(
        figure,
        f"K by router: {data.name}, {len(data.x_test):,} held-out rows, eight experts",
    )
    save(figure, path)


def main() -> None:
    """Train, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="Fashion-MNIST; without it the digits of the package")
    default = Path(__file__).resolve().parent.parent / "images" / "routers"
    parser.add_argument("--output", type=Path, default=default, help="folder for the figures")
    options = parser.parse_args()
    data = load(options.folder)
    options.output.mkdir(parents=True, exist_ok=True)
    results = [measure(data, router) for router in ROUTERS]
    drawn = {}
    for result in results:
        drawn.setdefault(result.router["kind"], result)
    with plt.rc_context(STYLE):
        for kind, result in drawn.items():
            draw_router(data, result, options.output / f"{kind}.png")
        trap = options.output / "percentile-trap.png"
        draw_trap(data, drawn["percentile"], drawn["threshold"], trap)
        draw_overview(data, list(drawn.values()), options.output / "overview.png")
    print(f"\n{data.name}: {len(data.x_train):,} training rows, {data.epochs} epochs, "
          f"{sum(result.seconds for result in results):.0f} s of training in all\n")  # fmt: skip
    print(table(results), counts(results), sep="\n\n")


if __name__ == "__main__":
    main()
