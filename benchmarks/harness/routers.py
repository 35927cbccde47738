"""What routing takes of a training step, by kind of router."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

from harness.measure import Settings, quartiles
from harness.sides import BENCHMARKS, environment
from harness.workloads import Workload

SECONDS = 2.0  # of training a run takes about
RUNS = 5
# Router, selection, sorting, gather, scatter and statistics in the profile.
ROUTING = (
    "router: logits and scores",
    "router: thresholds, selection, weights",
    "counting sort of the pairs",
    "sum of the experts' outputs",
    "gradients to the pairs",
    "router, backward",
    "gradients from the pairs",
    "statistics, thresholds, controllers",
)
LINE = re.compile(r"^(?P<name>\S.*?)\s{2,}(?:\d+\s+)?(?P<milliseconds>[\d.]+)\s+[\d.]+ %")


def kinds(targets: list[float]) -> dict[str, list[dict[str, Any]]]:
    """Return the routers of all layers by kind, with these mean K where the kind has a say."""
    aimed = ("threshold", "expert_threshold", "top_p", "relu")
    return {
        **{kind: [{"kind": kind, "target_active": k} for k in targets] for kind in aimed},
        "percentile": [{"kind": "percentile", "percentile": 0.5} for _ in targets],
        "top_k": [{"kind": "top_k", "k": max(1, round(k))} for k in targets],
        "top_any": [{"kind": "top_any"} for _ in targets],
        "dense": [{"kind": "dense"} for _ in targets],
    }


def profile(text: str) -> dict[str, float]:
    """Return the milliseconds a step of every phase of a profile, and of "whole calls".

    Raises
    ------
    RuntimeError
        When a phase of routing is missing.
    """
    found = {
        match["name"]: float(match["milliseconds"])
        for match in map(LINE.match, text.splitlines())
        if match
    }
    missing = [name for name in (*ROUTING, "whole calls") if name not in found]
    if missing:
        raise RuntimeError(f"the profile lacks {', '.join(missing)}:\n{text}")
    return found


def _run(workload: Workload, router: list[dict[str, Any]], steps: int) -> dict[str, float]:
    network = {
        "configuration": workload.configuration() | {"router": router},
        "rows": workload.rows,
        "inputs": workload.inputs,
        "vocabulary": workload.vocabulary,
        "outputs": workload.outputs,
        "task": workload.task,
    }
    command = [sys.executable, str(BENCHMARKS / "sides" / "routers.py"), json.dumps(network)]
    done = subprocess.run(
        [*command, str(steps)],
        env=environment(2) | {"DYNAMOE_PROFILE": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return profile(done.stderr) | {"mean_active": float(done.stdout)}


def measure(workload: Workload, settings: Settings) -> dict[str, Any]:
    """Return the percent of a training step by kind, the median of some runs."""
    routers = kinds(workload.targets())
    with settings.lock.alone():
        first = _run(workload, routers["dense"], 2)
        steps = max(2, min(500, round(1e3 * SECONDS / first["whole calls"])))
        runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in routers}
        for _ in range(RUNS if settings.repeats > 1 else 1):
            for kind, router in routers.items():
                runs[kind].append(_run(workload, router, steps))
    return {
        "workload": workload.name,
        "steps": steps,
        "kinds": {
            kind: {
                "percent": quartiles([_percent(run) for run in results])[1],
                "mean_active": results[0]["mean_active"],
            }
            for kind, results in runs.items()
        },
    }


def _percent(run: dict[str, float]) -> float:
    return 100 * sum(run[name] for name in ROUTING) / run["whole calls"]


def lines(result: dict[str, Any]) -> list[str]:
    """Return the result as text."""
    return [f"routers, {result['workload']} training, share of a step"] + [
        f"  {kind:20s} {row['percent']:5.2f} %, mean K {row['mean_active']:.2f}"
        for kind, row in result["kinds"].items()
    ]
