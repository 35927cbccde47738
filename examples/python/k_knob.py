"""Turn the dial K of a trained network: more experts per row or fewer, without more training.

``python k_knob.py`` trains one network with a threshold router on the handwritten digits that ship
inside the package, then calibrates its thresholds on rows that were held back from training, to one
mean K after the other, and evaluates the test rows at each. ``--data fashion_mnist --folder DIR``
reads the four published files from DIR.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

import dynamoe as dm
import numpy as np

EXPERTS = 8
LAYERS = 2
TARGET = 2  # mean K of the training
TOLERANCE = 0.02  # of the mean K that was asked for


@dataclass(frozen=True)
class Preset:
    """What suits a set of images."""

    title: str
    epochs: int
    batch_size: int
    lr: float
    weight_decay: float


PRESETS = {
    "digits": Preset("handwritten digits", 12, 64, 3e-3, 1.0),
    "mnist": Preset("MNIST", 5, 128, 1e-3, 0.01),
    "fashion_mnist": Preset("Fashion-MNIST", 5, 128, 1e-3, 0.01),
}


@dataclass(frozen=True)
class Setting:
    """One position of the dial; the lists of K have a number for each layer."""

    asked: float
    calibrated_k: np.ndarray
    test_k: np.ndarray
    accuracy: float
    flops: float


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=PRESETS, default="digits")
    parser.add_argument("--folder", help="where the files of mnist or fashion_mnist are")
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--step", type=float, default=0.5, help="from one K to the next (0.5)")
    parser.add_argument("--seed", type=int, default=0, help="of the splits, weights and order")
    parser.add_argument("--figure", default="k_knob.png", help="PNG file to write (k_knob.png)")
    options = parser.parse_args(given)
    if options.data != "digits" and options.folder is None:
        parser.error(f"--data {options.data} needs --folder: where its four files are")
    if options.epochs is not None and options.epochs < 1:
        parser.error(f"--epochs: got {options.epochs}, allowed is at least 1")
    if not 0.01 <= options.step <= EXPERTS:
        parser.error(f"--step: got {options.step}, allowed is 0.01 to {EXPERTS}")
    return options


def images(name: str, folder: str | None, seed: int) -> tuple[np.ndarray, ...]:
    """Return x_train, y_train, x_held_back, x_test, y_test."""
    if name == "digits":
        x, y, x_test, y_test = dm.data.stratified_split(*dm.data.digits(), 0.2, seed)
    else:
        read = dm.data.load(name, folder)
        x, y, x_test, y_test = read.x_train, read.y_train, read.x_test, read.y_test
    x_train, y_train, x_held_back, _ = dm.data.stratified_split(x, y, 0.2, seed + 1)
    if name == "digits":
        # So few images teach more when each is also seen shifted by one pixel.
        x_train, y_train = dm.data.with_shifts(x_train, y_train, (8, 8))
    return x_train, y_train, x_held_back, x_test, y_test


def train(preset: Preset, x: np.ndarray, y: np.ndarray, epochs: int | None, seed: int) -> dm.Model:
    """Return a trained network."""
    epochs = epochs or preset.epochs
    steps = epochs * -(-len(x) // preset.batch_size)
    model = dm.Model(
        {
            "task": "classification",
            "inputs": x.shape[1],
            "outputs": 10,
            "width": 64,
            "hidden": 64,
            "experts": [EXPERTS] * LAYERS,
            "router": {"kind": "threshold", "target_active": TARGET},
            "losses": {"balance": 0.01},
            "optimizer": {
                "lr": preset.lr,
                "weight_decay": preset.weight_decay,
                "warmup": steps // 20,
                "total": steps,
            },
        },
        seed=seed,
    )
    model.fit(x, y, epochs=epochs, batch_size=preset.batch_size, seed=seed)
    return model


def mean_k(model: dm.Model, x: np.ndarray) -> np.ndarray:
    """Return the mean K of these rows in each layer."""
    model.routing_stats(reset=True)
    model.predict(x)
    return np.array([layer.mean_k for layer in model.routing_stats(reset=True)])


def turn(
    model: dm.Model, asked: float, x_held_back: np.ndarray, x: np.ndarray, y: np.ndarray
) -> Setting:
    """Calibrate the network to a mean K and evaluate the test rows."""
    model.calibrate(x_held_back, target_active=asked)
    calibrated_k = mean_k(model, x_held_back)
    assert np.all(np.abs(calibrated_k / asked - 1) <= TOLERANCE), (
        f"asked for a mean K of {asked}, the calibration rows have {calibrated_k}"
    )
    result = model.evaluate(x, y)
    flops = model.flops_per_row  # at the mean K since the reset, which is that of the test rows
    return Setting(asked, calibrated_k, result["mean_k"], result["accuracy"], flops)


def positions(model: dm.Model, step: float) -> list[float]:
    """Return the mean K to ask for: from min_active in steps, and N."""
    least = model.config["router"]["min_active"]
    return [*np.arange(least, EXPERTS - 1e-9, step).round(6).tolist(), float(EXPERTS)]


def print_settings(settings: list[Setting]) -> None:
    """Print a line for each position of the dial; K is the mean over the layers."""
    print("\nAsked K   K, held-back rows   K, test rows   Accuracy   FLOPs per row")
    for setting in settings:
        print(
            f"{setting.asked:>7.2f}   {setting.calibrated_k.mean():>17.3f}   "
            f"{setting.test_k.mean():>12.3f}   {100 * setting.accuracy:>6.2f} %   "
            f"{setting.flops:>13,.0f}"
        )


def draw(settings: list[Setting], title: str, path: str) -> None:
    """Write the curve, or say what it needs."""
    points = [(setting.test_k.mean(), setting.accuracy) for setting in settings]
    try:
        figure = dm.plot.accuracy_against_k(points, trained_at=TARGET, title=title)
    except ImportError as error:
        print(f"\nNo figure: {error}")
        return
    figure.savefig(path)
    print(f"\nFigure: {path}")


def run(options: argparse.Namespace) -> list[Setting]:
    """Train, turn the dial, print, draw; return what was measured."""
    preset = PRESETS[options.data]
    parts = images(options.data, options.folder, options.seed)
    x_train, y_train, x_held_back, x_test, y_test = parts
    print(
        f"{preset.title}: {len(x_train):,} training, {len(x_held_back):,} held-back and "
        f"{len(x_test):,} test images",
        flush=True,
    )
    model = train(preset, x_train, y_train, options.epochs, options.seed)
    before = model.evaluate(x_test, y_test)
    print(
        f"\nAs trained, at target_active {TARGET}: test accuracy "
        f"{100 * before['accuracy']:.2f} % at a mean K of {before['mean_k'].mean():.3f}"
    )
    settings = [
        turn(model, asked, x_held_back, x_test, y_test) for asked in positions(model, options.step)
    ]
    print_settings(settings)
    draw(settings, f"Accuracy against K: {preset.title}, one network", options.figure)
    return settings


def main() -> int:
    """Run the example and return the exit code."""
    try:
        run(arguments())
    except OSError as error:
        print(f"k_knob: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
