"""Train a language model of the paper on text and compare it with the unigram baseline.

``python language_model.py --text openwebtext.jsonl.gz --tokenizer gpt2`` reads documents, one
JSON object with a field "text" a line, and GPT-2's two files (encoder.json, vocab.bpe) from the
folder gpt2. The paper's own router gives every token the same number of experts K;
``--router threshold`` lets K follow the token, at the same mean.

The network has no attention: it predicts the next token from the current one alone.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dynamoe as dm
import numpy as np

CURVE_POINTS = 10


@dataclass
class Text:
    """Windows of the training and of the held-out documents."""

    documents: tuple[int, int]
    x: np.ndarray
    targets: np.ndarray
    held_out_x: np.ndarray
    held_out_targets: np.ndarray
    vocabulary: int

    @property
    def unigram_perplexity(self) -> float:
        """Held-out perplexity of the training targets' frequencies, each counted once more."""
        held_out = self.held_out_targets[self.held_out_targets >= 0]
        seen = self.targets[self.targets >= 0]
        counts = np.bincount(seen, minlength=self.vocabulary) + 1
        return float(np.exp(-np.log(counts[held_out] / counts.sum()).mean()))


@dataclass
class Curve:
    """Held-out perplexity over the training steps."""

    steps: list[int] = field(default_factory=list)
    perplexity: list[float] = field(default_factory=list)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """Return the command line, read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", nargs="+", required=True, help="JSONL files, .gz or not")
    parser.add_argument("--tokenizer", required=True, help="folder of encoder.json and vocab.bpe")
    parser.add_argument("--preset", choices=("tiny", "small", "medium"), default="tiny")
    parser.add_argument("--router", choices=("percentile", "threshold"), default="percentile")
    parser.add_argument("--steps", type=int, default=250, help="training steps (250)")
    parser.add_argument("--held-out", type=float, default=0.05, help="share of documents (0.05)")
    parser.add_argument("--seed", type=int, default=0, help="of the split, weights and order")
    parser.add_argument("--figure", default="language_model.png", help="PNG file to write")
    options = parser.parse_args(given)
    if options.steps < 1:
        parser.error(f"--steps: got {options.steps}, allowed is at least 1")
    if not 0 < options.held_out < 1:
        parser.error(f"--held-out: got {options.held_out}, allowed is between 0 and 1")
    return options


def read(options: argparse.Namespace, length: int) -> Text:
    """Return the windows of the text, split by documents."""
    tokenizer = dm.data.gpt2_tokenizer(options.tokenizer)
    documents = dm.data.text(options.text, tokenizer)
    training, held_out = dm.data.split_documents(documents, options.held_out, options.seed)
    # Every token is predicted by itself, so windows may go on into the next document.
    end = {"end_of_text": tokenizer.end_of_text, "across": tokenizer.end_of_text is not None}
    x, targets = dm.data.windows(training, length, **end)
    held_out_x, held_out_targets = dm.data.windows(held_out, length, **end)
    sizes = len(training), len(held_out)
    return Text(sizes, x, targets, held_out_x, held_out_targets, tokenizer.vocabulary)


def configuration(options: argparse.Namespace, vocabulary: int) -> dm.ModelConfig:
    """Return the preset, with K following the token if that is wanted."""
    name = f"paper_language_{options.preset}"
    config = dm.preset(name, vocabulary=vocabulary)
    if options.router == "percentile":
        return config
    schedule = {key: value for key, value in config["experts"].items() if key != "schedule"}
    experts = dm.schedule(config["experts"]["schedule"], **schedule)
    router = {
        "kind": "threshold",
        # As many as the median of a token's own scores leaves above itself.
        "target_active": np.maximum(experts // 2, 1),
        "temperature": config["router"]["temperature"],
    }
    return dm.preset(name, vocabulary=vocabulary, router=router)


def progress_bar(steps: int) -> Any:
    """Return a tqdm bar, or None without tqdm."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=steps, unit="step", dynamic_ncols=True)


def evaluate(model: dm.Model, text: Text) -> dict[str, Any]:
    """Return the evaluation of the held-out windows, of which alone the statistics then are."""
    model.routing_stats(reset=True)
    return model.evaluate(text.held_out_x, text.held_out_targets)


def train(
    model: dm.Model, text: Text, batch_size: int, options: argparse.Namespace
) -> tuple[Curve, dict[str, Any], float]:
    """Train; return the curve, the last evaluation and the seconds that the steps took."""
    generator = np.random.default_rng(options.seed)
    order = np.zeros(0, np.int64)
    curve, result, seconds = Curve(), {}, 0.0
    due = {round(options.steps * (point + 1) / CURVE_POINTS) for point in range(CURVE_POINTS)}
    bar = progress_bar(options.steps)
    try:
        for step in range(1, options.steps + 1):
            while len(order) < batch_size:
                order = np.append(order, generator.permutation(len(text.x)))
            chosen, order = order[:batch_size], order[batch_size:]
            started = time.perf_counter()
            loss = model.train_batch(text.x[chosen], text.targets[chosen])
            seconds += time.perf_counter() - started
            shown = f"loss {loss:.3f}"
            if step in due:
                result = evaluate(model, text)
                curve.steps.append(step)
                curve.perplexity.append(result["perplexity"])
            if result:
                shown += f", held-out perplexity {result['perplexity']:.0f}"
            if bar is not None:
                bar.set_postfix_str(shown, refresh=False)
                bar.update()
            elif step in due:
                print(f"step {step}/{options.steps}: {shown}", file=sys.stderr)
    finally:
        if bar is not None:
            bar.close()
    return curve, result, seconds


def peak_megabytes() -> float:
    """Return the largest memory that this process has had so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1000


def print_layers(stats: list[dm.RoutingStatistics]) -> None:
    """Print experts, mean K and the histogram of K of each layer."""
    print("\nLayer   Experts   Mean K   Held-out tokens by K, %")
    for index, layer in enumerate(stats, start=1):
        shares = 100 * layer.k_histogram / max(layer.rows, 1)
        cells = "  ".join(f"{k}: {share:.1f}" for k, share in enumerate(shares) if share > 0)
        print(f"{index:>5}   {layer.experts:>7}   {layer.mean_k:>6.2f}   {cells}")


def draw(path: str, title: str, curve: Curve, unigram: float, stats: Any) -> None:
    """Write the figure, or say what it needs."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
    except ImportError:
        print("\nNo figure: it needs matplotlib, `pip install 'dynamoe[plot]'`")
        return
    figure = Figure(figsize=(10, 3.8), dpi=120, layout="constrained")
    figure.suptitle(title, x=0.012, ha="left", weight="bold")
    left, right = figure.subplots(1, 2)
    left.plot(
        curve.steps, curve.perplexity, marker="o", markersize=4, color="#0072B2", label="model"
    )
    left.axhline(unigram, linestyle="--", color="#D55E00", label=f"unigram, {unigram:.0f}")
    left.set_yscale("log")
    left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    left.yaxis.set_minor_formatter(NullFormatter())
    left.set_xlabel("training step")
    left.set_title("Held-out perplexity", loc="left", weight="bold", size=11)
    left.grid(axis="y", color="#e6e6e6")
    left.legend(frameon=False)
    dm.plot.k_histogram(stats, axes=right)
    figure.savefig(path)
    print(f"\nFigure: {path}")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Train, print, draw; return the numbers."""
    preset = dm.presets()[f"paper_language_{options.preset}"]
    text = read(options, preset.sequence_length)
    model = dm.Model(configuration(options, text.vocabulary), seed=options.seed)
    embedding = model.parameters["embedding.weight"].size
    print(
        f"{text.documents[0]:,} documents to train on, {text.targets.size:,} tokens; "
        f"{text.documents[1]:,} held out, {text.held_out_targets.size:,} tokens"
    )
    print(f"{preset.name}, router {options.router}, experts {model.experts}")
    print(
        f"{model.parameter_count:,} parameters, {model.parameter_count - embedding:,} without the "
        "embedding",
        flush=True,
    )
    curve, result, seconds = train(model, text, preset.batch_size, options)
    stats = model.routing_stats()
    unigram = text.unigram_perplexity
    tokens = options.steps * preset.batch_size * preset.sequence_length
    print(
        f"\nHeld-out perplexity {result['perplexity']:.1f}; unigram baseline {unigram:.1f}; "
        f"accuracy {100 * result['accuracy']:.1f} %"
    )
    print(
        f"{options.steps} steps in {seconds:.1f} s, {1e3 * seconds / options.steps:.0f} ms a step, "
        f"{tokens / seconds:,.0f} tokens/s, peak memory {peak_megabytes():.0f} MB"
    )
    print_layers(stats)
    title = f"{preset.name}, router {options.router}: perplexity {result['perplexity']:.0f}"
    draw(options.figure, title, curve, unigram, stats)
    return {**result, "unigram": unigram, "nats_below": math.log(unigram) - result["loss"]}


def main() -> int:
    """Run the example and return the exit code."""
    options = arguments()
    try:
        run(options)
    except (OSError, ImportError, ValueError) as error:
        print(f"language_model: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
