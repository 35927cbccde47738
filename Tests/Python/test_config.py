"""Configurations and schedules."""

from __future__ import annotations

import enum
import json

import dynamoe as dm
import numpy as np
import pytest
from dynamoe.config import to_json

from support.networks import config, state


class Task(str, enum.Enum):
    """An enumeration of the kind that configurations are often made with."""

    CLASSIFICATION = "classification"


def test_model_config_is_the_dict():
    typed = dm.ModelConfig(
        task="classification",
        inputs=12,
        outputs=5,
        width=16,
        experts=[6, 4, 3],
        hidden=20,
        router=dm.RouterConfig(kind="threshold", target_active=2, noise=0.05),
        losses=dm.LossesConfig(balance=0.01, z=0.001),
    )
    assert typed == config()
    assert state(dm.Model(typed, seed=1)) == state(dm.Model(config(), seed=1))


def test_numpy_values_are_numbers_and_lists():
    plain = config(
        experts=[6, 4, 3],
        hidden=[20, 10, 20],
        router={"kind": "threshold", "target_active": [2, 2, 1]},
    )
    numpy = config(
        task=Task.CLASSIFICATION,
        inputs=np.int32(12),
        outputs=np.array(5),
        experts=dm.schedule("descending", 3, 3, 6) * 0 + np.array([6, 4, 3]),
        hidden=(20, np.uint8(10), 20),
        router={"kind": np.str_("threshold"), "target_active": np.array([2.0, 2, 1])},
        bias=np.bool_(True),
        losses={"balance": np.float32(0.5)},
    )
    plain["losses"] = {"balance": 0.5}
    assert dm.Model(numpy).config == dm.Model(plain).config
    assert json.loads(to_json(numpy))["task"] == "classification"


def test_resolved_configurations_are_complete():
    resolved = dm.Model(config()).config
    json.dumps(resolved)
    assert resolved["activation"] == "gelu" and resolved["norm"] == "layer"
    assert resolved["optimizer"]["lr"] == 0.001
    resolved["width"] = 0
    assert dm.Model(config()).config["width"] == 16


def test_a_schedule_in_the_configuration():
    experts = {"schedule": "descending", "layers": 4, "minimum": 2, "maximum": 8}
    assert dm.Model(config(experts=experts)).experts == [8, 6, 4, 2]


def test_schedule_counts(fixtures_folder):
    cases = json.loads((fixtures_folder / "schedules.json").read_text())
    rows = cases if isinstance(cases, list) else cases["rows"]
    assert len(rows) > 50
    for row in rows:
        counts = dm.schedule(
            row["name"], row["layers"], row["minimum"], row["maximum"], row["total"], row["cycles"]
        )
        assert counts.dtype == np.int64
        assert counts.tolist() == row["counts"], row


@pytest.mark.parametrize(
    "change, match",
    [
        ({"name": "decending"}, "descending"),
        ({"name": "a\0b"}, "name"),
        ({"name": None}, "name"),
        ({"layers": 0}, "layers"),
        ({"layers": 2.5}, "layers"),
        ({"layers": 2**40}, "layers"),
        ({"minimum": 0}, "minimum"),
        ({"minimum": 9}, "minimum|maximum"),
        ({"maximum": None}, "maximum"),
        ({"maximum": 2**70}, "maximum"),
        ({"total": 3}, "total"),
        ({"total": 0}, "total"),
        ({"cycles": 0}, "cycles"),
        ({"cycles": float("nan")}, "cycles"),
        ({"cycles": float("inf")}, "cycles"),
        ({"cycles": "two"}, "cycles"),
    ],
)
def test_bad_schedules(change, match):
    good = {"name": "descending", "layers": 4, "minimum": 2, "maximum": 8}
    if "cycles" in change:
        good["name"] = "wave"
    assert dm.schedule(**good).shape == (4,)
    with pytest.raises(ValueError, match=match):
        dm.schedule(**{**good, **change})


def test_extreme_schedules_do_not_overflow():
    try:
        counts = dm.schedule("descending", 3, 1, 2**62)
    except ValueError:
        return
    assert counts.max() == 2**62


def test_build_info():
    info = dm.build_info()
    assert isinstance(info, dict) and info
    assert dm.get_threads() in info.values() or "threads" in json.dumps(info)
