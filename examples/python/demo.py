"""Train a dynamic mixture of experts on images and show how each layer routes.

``python demo.py`` uses the handwritten digits that ship inside the package;
``python demo.py --data fashion_mnist --folder DIR`` reads the four published files from DIR.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import Any

import dynamoe as dm
import numpy as np


@dataclass(frozen=True)
class Preset:
    """What suits a set of images."""

    title: str
    epochs: int
    batch_size: int
    width: int
    hidden: int
    lr: float
    weight_decay: float


PRESETS = {
    "digits": Preset("handwritten digits", 12, 64, 64, 64, 3e-3, 1.0),
    "mnist": Preset("MNIST", 5, 128, 128, 128, 1e-3, 0.01),
    "fashion_mnist": Preset("Fashion-MNIST", 5, 128, 128, 128, 1e-3, 0.01),
}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=PRESETS, default="digits")
    parser.add_argument("--folder", help="where the files of mnist or fashion_mnist are")
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and order")
    parser.add_argument("--figure", default="demo.png", help="PNG file to write (demo.png)")
    options = parser.parse_args(given)
    if options.data != "digits" and options.folder is None:
        parser.error(f"--data {options.data} needs --folder: where its four files are")
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs: got {options.epochs}, allowed is at least 1")
    return options


def images(name: str, folder: str | None, seed: int) -> tuple[np.ndarray, ...]:
    """Return x_train, y_train, x_test, y_test."""
    if name == "digits":
        x, y = dm.data.digits()
        x_train, y_train, x_test, y_test = dm.data.stratified_split(x, y, 0.2, seed)
        # So few images teach more when each is also seen shifted by one pixel.
        return *dm.data.with_shifts(x_train, y_train, (8, 8)), x_test, y_test
    loaded = dm.data.load(name, folder)
    return loaded.x_train, loaded.y_train, loaded.x_test, loaded.y_test


def configuration(preset: Preset, inputs: int, steps: int) -> dm.ModelConfig:
    """Return a network whose early layers have many experts and whose late ones have few."""
    return dm.ModelConfig(
        task="classification",
        inputs=inputs,
        outputs=10,
        width=preset.width,
        experts={"schedule": "descending", "layers": 4, "minimum": 3, "maximum": 8},
        hidden=preset.hidden,
        router={"kind": "threshold", "target_active": 2},
        losses={"balance": 0.01},
        optimizer={
            "lr": preset.lr,
            "weight_decay": preset.weight_decay,
            "warmup": steps // 20,
            "total": steps,
        },
    )


def spark(shares: np.ndarray) -> str:
    """Return one block character per share, as high as the share is large."""
    levels = " ▁▂▃▄▅▆▇█"
    top = max(float(shares.max()), 1e-9)
    return "".join(levels[int(np.ceil(8 * share / top))] for share in shares)


def print_experts(stats: list[dm.RoutingStatistics]) -> None:
    """Print experts and mean K of each layer."""
    print("\nLayer   Experts   Mean K   Busiest expert / mean   Unused experts")
    for index, layer in enumerate(stats, start=1):
        print(
            f"{index:>5}   {layer.experts:>7}   {layer.mean_k:>6.2f}   "
            f"{layer.load_imbalance:>21.2f}   {layer.unused:>14}"
        )


def print_table(title: str, head: str, first: int, rows: list[list[str]], notes: list[str]) -> None:
    """Print a table with one line per layer; columns are numbered from `first`."""
    columns = max(map(len, rows))
    width = max(5, *(len(cell) for cells in rows for cell in cells)) + 1
    print(f"\n{title}")
    print(f"  {head:<8}" + "".join(f"{first + column:>{width}}" for column in range(columns)))
    for index, (cells, note) in enumerate(zip(rows, notes, strict=True), start=1):
        line = "".join(f"{cell:>{width}}" for cell in cells).ljust(width * columns)
        print(f"  {f'layer {index}':<8}{line}   {note}".rstrip())


def print_histograms(stats: list[dm.RoutingStatistics]) -> None:
    """Print how many experts the rows of each layer used."""
    first = 0 if any(layer.k_histogram[0] for layer in stats) else 1
    shares = [100 * layer.k_histogram[first:] / layer.rows for layer in stats]
    rows = [[f"{share:.1f}" for share in layer] for layer in shares]
    notes = [spark(layer) for layer in shares]
    print_table("Experts used by a test image, % of the images", "K", first, rows, notes)


def print_load(stats: list[dm.RoutingStatistics]) -> None:
    """Print rows per expert, a line per layer."""
    rows = [[f"{count:,}" for count in layer.expert_rows] for layer in stats]
    notes = [spark(layer.expert_rows) for layer in stats]
    print_table("Test images per expert", "expert", 1, rows, notes)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train, print, draw; return the evaluation of the test images."""
    preset = PRESETS[options.data]
    x_train, y_train, x_test, y_test = images(options.data, options.folder, options.seed)
    epochs = options.epochs or preset.epochs
    steps = epochs * -(-len(x_train) // preset.batch_size)
    config = configuration(preset, x_train.shape[1], steps)
    model = dm.Model(config, seed=options.seed)
    print(f"{preset.title}: {len(x_train):,} training and {len(x_test):,} test images")
    print(f"{model}\n", flush=True)
    started = time.perf_counter()
    history = model.fit(
        x_train,
        y_train,
        epochs=epochs,
        batch_size=preset.batch_size,
        validation=(x_test, y_test),
        seed=options.seed,
    )
    seconds = time.perf_counter() - started
    model.routing_stats(reset=True)
    result = model.evaluate(x_test, y_test)
    stats = model.routing_stats()
    print(f"\nTest accuracy {100 * result['accuracy']:.2f} % after {seconds:.1f} s")
    print_experts(stats)
    print_histograms(stats)
    print_load(stats)
    if history.epochs:
        title = f"DynaMoE on {preset.title}: {100 * result['accuracy']:.1f} % of test images right"
        draw(stats, history, title, options.figure)
    return result


def draw(stats: list[dm.RoutingStatistics], history: dm.History, title: str, path: str) -> None:
    """Write the figure, or say what it needs."""
    try:
        figure = dm.plot.overview(stats, history, title=title)
    except ImportError as error:
        print(f"\nNo figure: {error}")
        return
    figure.savefig(path)
    print(f"\nFigure: {path}")


def main() -> int:
    """Run the demo and return the exit code."""
    options = arguments()
    try:
        run(options)
    except OSError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
