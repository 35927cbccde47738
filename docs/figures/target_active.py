"""Measure how near the mean K of held-out rows comes to `target_active`, as a Markdown table.

``python docs/figures/target_active.py --folder DIR`` trains threshold networks on Fashion-MNIST
from DIR (without --folder on the digits of the package); ``--tokens FILE`` trains on a text, given
as token ids: little-endian unsigned 16-bit integers, plain or ``.gz``. Of these the rare ones are
left out, or with ``--merge-rare`` become one id; with ``--shuffle`` a batch is drawn from all over
the text instead of being a piece of it. Needs the package, NumPy and matplotlib, because it takes
its helpers from routers.py beside it.
"""

from __future__ import annotations

import argparse
import gzip
import sys
from pathlib import Path
from typing import Any

import dynamoe as dm
import numpy as np

from routers import Data, by_row, load, rank_correlation, train

TOLERANCE = 0.05  # of the target
MOST_LIMITED = 0.02  # share of rows raised by min_active up to which the tolerance is promised
VOCABULARY = 4096
TOKENS_IN_BATCH = 2048
PASSES = 2
SEEDS = (0, 1, 2)


def read_tokens(path: Path, merge_rare: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return ids to train on and held-out ids: the first nine tenths and the rest.

    Only the most frequent ids stay, so that the head of the network is small.
    """
    content = path.read_bytes()
    raw = np.frombuffer(gzip.decompress(content) if path.suffix == ".gz" else content, "<u2")
    kept = VOCABULARY - 1 if merge_rare else VOCABULARY
    frequent = np.argsort(-np.bincount(raw), kind="stable")[:kept]
    names = np.full(int(raw.max()) + 1, kept)
    names[frequent] = np.arange(len(frequent))
    ids = names[raw]
    if not merge_rare:
        ids = ids[ids < kept]
    cut = len(ids) * 9 // 10
    most = np.bincount(ids).max() / len(ids)
    print(f"{len(ids):,} tokens; {100 * most:.1f} % of them are the most frequent id\n")
    return ids[:cut], ids[cut:]


def train_on_text(ids: np.ndarray, router: dict[str, Any], seed: int, shuffle: bool) -> dm.Model:
    """Return a network that was trained to predict the next id."""
    starts = np.arange(0, len(ids) - 1 - TOKENS_IN_BATCH, TOKENS_IN_BATCH)
    steps = PASSES * len(starts)
    config = {
        "task": "language_model",
        "vocabulary": VOCABULARY,
        "tied_embedding": True,
        "width": 64,
        "hidden": 64,
        "experts": [8, 8],
        "router": router,
        "losses": {"balance": 0.01},
        "optimizer": {"lr": 2e-3, "warmup": steps // 20, "total": steps},
    }
    model = dm.Model(config, seed=seed)
    generator = np.random.default_rng(seed)
    places = np.arange(len(ids) - 1)
    for _ in range(PASSES):
        if shuffle:
            generator.shuffle(places)
        for start in generator.permutation(starts):
            batch = places[start : start + TOKENS_IN_BATCH]
            model.train_batch(ids[batch], ids[batch + 1])
    return model


class Table:
    """Prints a line for each layer and counts where the tolerance is kept."""

    def __init__(self) -> None:
        self.promised = self.kept = 0
        print(
            "| target_active | seed | layer | mean K, training rows | mean K, held-out rows "
            "| off by | raised by min_active | variance of K | correlation of entropy and K |"
        )
        print("|---|---|---|---|---|---|---|---|---|")

    def add(
        self,
        model: dm.Model,
        label: str,
        target: float,
        seed: int,
        rows: tuple[Any, Any],
    ) -> None:
        """Evaluate (training rows, held-out rows) and print."""
        seen_in_training, held_out = (self.statistics(model, x) for x in rows)
        entropy, k = self.rows_of(model, rows[1])
        for layer, (before, now) in enumerate(zip(seen_in_training, held_out, strict=True)):
            off = now.mean_k / target - 1
            correlation = rank_correlation(entropy[:, layer], k[:, layer])
            words = "none" if correlation is None else f"{correlation:+.2f}"
            print(
                f"| {label} | {seed} | {layer + 1} | {before.mean_k:.3f} | {now.mean_k:.3f} "
                f"| {100 * off:+.1f} % | {100 * now.limited_share:.2f} % "
                f"| {now.variance_k:.2f} | {words} |",
                flush=True,
            )
            if now.limited_share < MOST_LIMITED:
                self.promised += 1
                self.kept += abs(off) <= TOLERANCE and now.variance_k > 0

    @staticmethod
    def statistics(model: dm.Model, x: Any) -> list[dm.RoutingStatistics]:
        """Return the routing of these rows alone."""
        model.routing_stats(reset=True)
        model.predict(x)
        return model.routing_stats(reset=True)

    @staticmethod
    def rows_of(model: dm.Model, x: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return entropy and K of each row; equal ids, which route alike, are looked at once."""
        if x.ndim > 1:
            return by_row(model, x)[:2]
        different, place = np.unique(x, return_inverse=True)
        entropy, k, _ = by_row(model, different)
        return entropy[place], k[place]


def images(data: Data, table: Table) -> None:
    """Measure on images."""
    for target in (1, 1.5, 2, 3, 4):
        for seed in SEEDS:
            model = train(data, {"kind": "threshold", "target_active": target}, seed)
            table.add(model, f"{target:g}", target, seed, (data.x_train, data.x_test))
    for seed in SEEDS:
        router = {"kind": "threshold", "target_active": 2}
        model = train(data, router, seed, optimizer={"lr": 1e-3})
        table.add(model, "2, constant rate", 2, seed, (data.x_train, data.x_test))


def text(ids: np.ndarray, held_out: np.ndarray, shuffle: bool, table: Table) -> None:
    """Measure on token ids."""
    for seed in SEEDS:
        router = {"kind": "threshold", "target_active": 2}
        model = train_on_text(ids, router, seed, shuffle)
        table.add(model, "2", 2, seed, (ids, held_out))


def main() -> int:
    """Measure; return 1 when the tolerance was not kept everywhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", help="Fashion-MNIST; without it the digits of the package")
    parser.add_argument("--tokens", type=Path, help="token ids, instead of images")
    parser.add_argument("--merge-rare", action="store_true", help="rare tokens become one id")
    parser.add_argument("--shuffle", action="store_true", help="batches of tokens from everywhere")
    options = parser.parse_args()
    if options.tokens:
        tokens = read_tokens(options.tokens, options.merge_rare)
        table = Table()
        text(*tokens, options.shuffle, table)
    else:
        table = Table()
        images(load(options.folder), table)
    print(
        f"\nwithin {100 * TOLERANCE:.0f} %, with variance: {table.kept} of the {table.promised} "
        f"layers with fewer than {100 * MOST_LIMITED:.0f} % of rows raised"
    )
    return 0 if table.kept == table.promised else 1


if __name__ == "__main__":
    sys.exit(main())
