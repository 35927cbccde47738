"""Markdown tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from harness.goals import DEFAULT, GOALS, best_peer, limit
from harness.growth import share_of_limit, spread

Content = dict[str, Any]
MODES = {
    "infer": "inference",
    "train": "training",
    "train_dx": "training, with dL/dx",
    "passes": "forward and backward",
}
SURFACES = {"swift": "Swift", "c": "C", "python": "Python"}
NOTHING = "–"


def number(value: float) -> str:
    """Return three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def title(result: dict[str, Any]) -> str:
    """Return what a row is about."""
    name, _, rows = result["workload"].partition("b")
    batch = f" at batch {rows}" if rows else ""
    one = ", 1 thread" if result.get("threads") == 1 else ""
    return f"{name}{batch} {MODES[result['mode']]}{one}"


def times_faster(result: dict[str, Any], peer: str | None) -> str:
    """Return how many times longer the peer takes."""
    row = result["sides"].get(peer)
    return f"{row['ratio'][1]:.2f}×" if row else NOTHING


def peer_time(result: dict[str, Any], peer: str | None) -> str:
    """Return the milliseconds of a peer."""
    row = result["sides"].get(peer)
    return number(row["milliseconds"]) if row else NOTHING


def measured_on(content: Content) -> str:
    """Return machine and dates in a sentence."""
    machine = content["machine"]
    sections = ("comparison", "surfaces", "threads", "routers", "growth", "neighbour")
    dates = sorted({row["date"] for key in sections for row in content.get(key, {}).values()})
    when = " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "never"
    versions = ", ".join(f"{name} {version}" for name, version in machine["peers"].items())
    limits = machine["limits"]
    return (
        f"Measured on {when}: {machine['processor']}, core {machine['core']}, "
        f"{machine['cores']} cores, FMA peak {limits['fma_2']:.0f} GFLOP/s on two, kernels "
        f"`{machine['library']['kernels']}`; peers with {versions}."
    )


def machine_table(content: Content) -> str:
    """Return the limits."""
    machine, limits = content["machine"], content["machine"]["limits"]
    rows = [
        ["processor", f"{machine['processor']}, core {machine['core']}"],
        ["cores; memory", f"{machine['cores']}; {machine['memory_gigabytes']} GB"],
        ["vectors of the FMA measurement", limits["vectors"]],
        ["features in use", ", ".join(machine["library"]["processor_features"])],
    ]
    for key, name, unit in (
        ("fma", "FMA peak, float32", "GFLOP/s"),
        ("l2_read", "read from L2", "GB/s"),
        ("l3_read", "read from L3", "GB/s"),
        ("dram_read", "read from memory", "GB/s"),
    ):
        one, two = limits[f"{key}_1"], limits[f"{key}_2"]
        rows.append([f"{name}, one; two threads", f"{one:.0f}; {two:.0f} {unit}"])
    return table(["limit", ""], rows)


def comparison_table(content: Content) -> str:
    """Return ours beside the best peer and PyTorch's loop."""
    rows, limits = [], content["machine"]["limits"]
    for result in content.get("comparison", {}).values():
        own, best = result["sides"][result["ours"]], best_peer(result)
        default = result["sides"].get(DEFAULT)
        memory = number(default["memory_megabytes"]) if default else NOTHING
        share = 100 * own["gflops"] / limits[f"fma_{result['threads']}"]
        rows.append(
            [
                title(result),
                number(own["milliseconds"]),
                number(own["gflops"]),
                f"{share:.0f} %",
                f"{peer_time(result, best)} ({best})" if best else NOTHING,
                times_faster(result, best),
                peer_time(result, DEFAULT),
                times_faster(result, DEFAULT),
                f"{number(own['memory_megabytes'])}; {memory}",
            ]
        )
    head = ["step", "ms", "GFLOP/s", "of FMA peak", "best peer, ms", "faster", "PyTorch's loop, ms"]
    return table([*head, "faster", "peak memory, MB: ours; PyTorch's loop"], rows)


def peers_table(content: Content) -> str:
    """Return the milliseconds of every side."""
    results = content.get("comparison", {}).values()
    names = list(dict.fromkeys(n for r in results for n in r["sides"] if n != r["ours"]))
    rows = [
        [title(r), peer_time(r, r["ours"]), *(peer_time(r, name) for name in names)]
        for r in results
    ]
    return table(["ms", "ours", *names], rows)


def goals_table(content: Content) -> str:
    """Return the goals, what of the machine they would take, and what is reached."""
    rows = []
    for name, goals in GOALS.items():
        result = content.get("comparison", {}).get(name)
        if result is None or best_peer(result) is None:
            continue
        row, bound = [title(result)], limit(result, content["machine"])
        for goal, peer in zip(goals, (best_peer(result), DEFAULT), strict=True):
            if peer not in result["sides"]:
                row += [f"{goal:g}×", NOTHING, NOTHING]
                continue
            allowed = result["sides"][peer]["milliseconds"] / goal
            row += [f"{goal:g}×", bound.needs(allowed), times_faster(result, peer)]
        rows.append(row)
    head = ["step", "goal: best peer", "it takes", "now", "goal: PyTorch's loop", "it takes", "now"]
    return table(head, rows)


def surfaces_table(content: Content) -> str:
    """Return what C and Python cost over Swift."""
    rows = []
    for result in content.get("surfaces", {}).values():
        for name, side in result["sides"].items():
            percent, more = side["percent"][1], side["microseconds"][1]
            extra = [NOTHING] * 2 if name == "swift" else [f"{percent:+.1f} %", f"{more:+.1f}"]
            rows.append([title(result), SURFACES[name], number(side["milliseconds"]), *extra])
    return table(["step", "through", "ms", "more than Swift", "µs more"], rows)


def threads_table(content: Content) -> str:
    """Return one thread against two."""
    rows = []
    for result in content.get("threads", {}).values():
        one, two = result["milliseconds"]["1"], result["milliseconds"]["2"]
        rows.append([title(result), number(one), number(two), f"{result['speedup'][1]:.2f}×"])
    return table(["step", "1 thread, ms", "2 threads, ms", "faster"], rows)


def routers_table(content: Content) -> str:
    """Return the share of a training step that routing takes, by kind of router."""
    results = list(content.get("routers", {}).values())
    kinds = list(dict.fromkeys(kind for result in results for kind in result["kinds"]))

    def cell(result: dict[str, Any], kind: str) -> str:
        share, active = (result["kinds"][kind][key] for key in ("percent", "mean_active"))
        return f"{share:.1f} % (K {active:.2f})"

    rows = [[f"`{kind}`", *(cell(result, kind) for result in results)] for kind in kinds]
    return table(["router", *(f"of a {r['workload']} training step" for r in results)], rows)


def growth_table(content: Content) -> str:
    """Return how far the time of a pair moves in each sweep."""
    rows = []
    for result in content.get("growth", {}).values():
        points = result["points"]
        first, last = points[0], points[-1]
        busy = spread(result)
        share = NOTHING
        if result["mode"] == "infer":
            machine = content["machine"]
            level = 0.75 * (machine["l3_megabytes"] or 0)
            shares = [100 * share_of_limit(p, machine["limits"], level) for p in points]
            share = f"{min(shares):.0f} to {max(shares):.0f} %"
        rows.append(
            [
                f"{result['axis']} {first['value']:,} to {last['value']:,} ({result['title']})",
                MODES[result["mode"]],
                f"{number(first['nanoseconds_a_pair'])} to {number(last['nanoseconds_a_pair'])}",
                NOTHING if busy is None else f"{100 * busy:.0f} %",
                share,
            ]
        )
    head = ["what grows", "step", "ns a pair, first to last", "slowest over fastest"]
    return table([*head, "share of the roofline"], rows)


def neighbour_table(content: Content) -> str:
    """Return what a busy neighbour and idling cost."""
    rows = [
        [
            f"{'ours' if name in SURFACES else name}, {title(result)}",
            number(row["quiet_milliseconds"]),
            number(row["busy_milliseconds"]),
            f"{row['slowdown'][1]:.2f}×",
            number(row["largest_busy_milliseconds"]),
            f"{row['idle_percent']:.1f} %",
        ]
        for result in content.get("neighbour", {}).values()
        for name, row in result["sides"].items()
    ]
    head = ["step", "alone, ms", "beside a busy core, ms", "slower", "slowest turn, ms"]
    return table([*head, "of a core when idle"], rows)


def summary_table(content: Content) -> str:
    """Return the short table of the README."""
    rows = []
    for result in content.get("comparison", {}).values():
        best = best_peer(result)
        if result["mode"] == "train_dx" or best is None:
            continue
        own = result["sides"][result["ours"]]
        rows.append(
            [
                title(result),
                number(own["milliseconds"]),
                f"{times_faster(result, best)} ({best})",
                times_faster(result, DEFAULT),
            ]
        )
    return table(["step", "ms", "faster than the best peer", "than PyTorch's loop"], rows)
