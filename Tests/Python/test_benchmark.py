"""The benchmark: its sides compute the same, a side that does not is refused, tables are made."""

# ruff: noqa: E402, RUF001 (the benchmark is no package, and writes a sign)

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from harness import agreement, comparison, programs, report, results, routers, tables
from harness.measure import Lock, Settings, Timing, running
from harness.plan import SMALL, Cell, cells_of
from harness.sides import LIBRARY, PYTHON, SWIFT, C, Cases, Kind, Start, peers

QUICK = Settings(Lock(None), pairs=2, repeats=0, pause=0, turn=0.001)


@pytest.fixture(scope="module")
def cases():
    """Make the small cases."""
    programs.build()
    made = Cases()
    yield made
    made.close()


@pytest.fixture(scope="module")
def swift(tmp_path_factory) -> Kind:
    """Build the Swift side against the modules that the library was built from."""
    folder = tmp_path_factory.mktemp("swift")
    build = LIBRARY.parent / "release"
    objects = [str(path) for path in sorted(build.glob("*.build/*.o"))]
    objects = [path for path in objects if "/DynaMoEC.build/" not in path]
    includes = [build / "Modules", BENCHMARKS.parent / "Sources" / "CDynaMoEPlatform" / "include"]
    sources = sorted(map(str, (BENCHMARKS / "swift" / "Sources" / "Side").glob("*.swift")))
    command = ["swiftc", "-O", *(f"-I{path}" for path in includes), *sources, *objects]
    done = subprocess.run([*command, "-o", folder / "Side"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return replace(SWIFT, command=(str(folder / "Side"),))


@pytest.mark.parametrize("workload", SMALL.workloads, ids=lambda workload: workload.name)
def test_surfaces_give_the_same_bits_and_numpy_the_same_function(workload, cases, swift):
    kinds = [C, PYTHON, swift, peers(None)["numpy_loop"]]
    for cell in cells_of(workload):
        result = comparison.measure(cell, kinds, cases, QUICK)
        sides = result["sides"]
        assert list(sides) == ["c", "python", "swift", "numpy_loop"]
        for name in ("c", "python", "swift"):
            assert sides[name]["relative_error"] == 0
            assert sides[name].get("change_error", 0) == 0
        for row in sides.values():
            assert row["milliseconds"] > 0
            assert row["memory_megabytes"] > 1
            assert len(row["ratio"]) == 3


def test_steps_without_the_optimizer_leave_the_parameters(cases, swift):
    cell = Cell(SMALL.workloads[0], "passes")
    after = []
    for kind in (C, PYTHON, swift):
        with running([Start(kind, cases[cell.workload], cell.mode)], QUICK) as (side,):
            before = agreement.output(side)
            assert len(side.run(3)) == 3
            after.append(agreement.output(side))
    same = np.ones(len(before.values), bool)  # training forwards move the thresholds
    for first, last in zip(before.masks, after[0].masks, strict=True):
        same &= (first == last).all(axis=1)
    assert same.mean() > 0.5
    np.testing.assert_array_equal(after[0].values[same], before.values[same])
    for other in after[1:]:
        np.testing.assert_array_equal(other.values, after[0].values)


def test_what_computes_something_else_is_refused():
    rng = np.random.default_rng(0)
    values, mask = rng.standard_normal((400, 3)), rng.random((400, 4)) < 0.5
    same = agreement.Output(values, [mask])
    assert agreement.compare("a", same, same)["relative_error"] == 0
    with pytest.raises(RuntimeError, match="a computes something else: relative error"):
        agreement.compare("a", agreement.Output(values * 1.01, [mask]), same)
    with pytest.raises(RuntimeError, match="400 of 400 rows are routed otherwise"):
        agreement.compare("a", agreement.Output(values, [~mask]), same)
    later = agreement.Output(values + 0.1, [mask])
    assert agreement.compare_training("a", (same, later), (same, later)) == 0
    with pytest.raises(RuntimeError, match="a learns something else"):
        agreement.compare_training("a", (same, same), (same, later))


def test_a_side_that_ends_says_why(cases):
    broken = replace(
        PYTHON, name="broken", command=(sys.executable, "-c", "raise SystemExit('no')")
    )
    cell = Cell(SMALL.workloads[0], "infer")
    with pytest.raises(RuntimeError, match="broken ended: no"):
        comparison.measure(cell, [PYTHON, broken], cases, QUICK)


def test_useful_operations():
    layer, gated = SMALL.workloads[2], SMALL.workloads[3]
    pair = 2 * 16 * 24  # of one matrix
    routers, rows = 2 * 16 * 6, 64
    assert layer.operations([2.0], "infer") == rows * (2 * 2 * pair + routers)
    assert layer.operations([2.0], "train_dx") == 3 * layer.operations([2.0], "infer")
    # Without the gradient by the rows: two products of the second matrix back, one of the first.
    assert layer.operations([2.0], "train") == rows * (2 * 5 * pair + 2 * routers)
    assert gated.operations([2.0], "train") == rows * (2 * 7 * pair + 2 * routers)


def test_ratios_are_taken_round_by_round():
    timing = Timing([[1.0, 10.0, 100.0], [2.0, 20.0, 200.0], [3.0]])
    assert timing.median(0) == 10
    assert timing.ratios(1) == [2, 2, 2]
    assert timing.ratios(2) == [3, 3, 3]
    assert timing.differences(1)[1] == 10


def test_the_command_measures_keeps_and_makes_tables(tmp_path):
    kept = tmp_path / "results.json"
    command = [
        sys.executable,
        BENCHMARKS / "bench.py",
        "--small",
        "--pairs",
        "1",
        "--only",
        "numpy_loop",
    ]
    chosen = ["small", "threads", "growth", "neighbour", "--results", kept]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    content = json.loads(kept.read_text())
    assert content["machine"]["limits"]["fma_1"] > 1
    assert list(content["comparison"]) == ["small infer 2", "small train 2"]
    assert {"threads", "growth", "neighbour"} <= set(content)
    for growth in content["growth"].values():
        assert all(point["nanoseconds_a_pair"] > 0 for point in growth["points"])

    page = tmp_path / "page.md"
    marks = "".join(f"<!-- benchmark: {n} -->\nold\n{report.END}\nkept\n" for n in report.BLOCKS)
    page.write_text(f"before\n{marks}after\n")
    written = report.write(content, (page,), tmp_path)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert "old" not in text and text.count("kept") == len(report.BLOCKS)
    assert "| small training |" in text
    assert all(path.stat().st_size > 5000 for path in written if path.suffix == ".png")
    assert report.pasted(text, content) == text

    unknown = subprocess.run([*command, "W9"], capture_output=True, text=True)
    assert unknown.returncode == 2 and "unknown: W9" in unknown.stdout


def test_a_marker_without_table_or_end_is_refused():
    for text in (f"<!-- benchmark: nothing -->\n{report.END}", "<!-- benchmark: machine -->\n"):
        with pytest.raises(RuntimeError, match="names no table or has no end"):
            report.pasted(text, {})


def test_goals_beyond_the_machine_are_seen():
    sides = {
        name: {
            "milliseconds": time,
            "gflops": 1 / time,
            "memory_megabytes": 1,
            "ratio": [ratio] * 3,
        }
        for name, time, ratio in (("python", 10.0, 1.0), ("torch_loop", 22.0, 2.2))
    }
    result = {"workload": "W1", "mode": "train", "threads": 2, "ours": "python", "sides": sides}
    result |= {"gflop": 1.0, "weight_megabytes": 1.0, "parameter_megabytes": 10.0}
    limits = {"fma_2": 80.0, "dram_read_2": 12.0}
    content = {
        "machine": {"limits": limits, "l3_megabytes": 32},
        "comparison": {"W1 train 2": result},
    }
    # 2.2 times faster than 22 ms are 10 ms; 1 GFLOP takes 12.5 ms at the peak, 60 MB take 5 ms.
    assert "2.2× | 125 % of FMA, 50 % of DRAM | 2.20×" in tables.goals_table(content)


def test_stored_results_stand_in_the_documentation():
    stored = sorted((BENCHMARKS / "results").glob("*.json"))
    if not stored:
        pytest.skip("no results are stored")
    contents = [results.Results(path).content for path in stored]
    for page in report.PAGES:
        text = page.read_text()
        assert any(report.pasted(text, content) == text for content in contents), page.name


def test_share_of_routing_by_kind():
    result = routers.measure(SMALL.routers[0], QUICK)
    assert set(result["kinds"]) == {
        "threshold", "expert_threshold", "top_p", "relu", "percentile", "top_k", "top_any", "dense",
    }  # fmt: skip
    assert all(0 < row["percent"] < 100 for row in result["kinds"].values())
    assert result["kinds"]["dense"]["mean_active"] == 3.5
    text = tables.routers_table({"routers": {"small": result}})
    assert text.count("\n") == 9 and "| `dense` |" in text


def test_a_profile_without_a_phase_of_routing_is_refused():
    with pytest.raises(RuntimeError, match="lacks router: logits and scores"):
        routers.profile("router, backward     104   0.3121   0.6 %   16.8")
