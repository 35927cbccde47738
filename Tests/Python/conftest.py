"""Shared fixtures. The tests use the installed package."""

from __future__ import annotations

import os
from pathlib import Path

import dynamoe as dm
import numpy as np
import pytest

from support.networks import classifier

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Return the folder of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def fixtures_folder() -> Path:
    """Return the folder of the golden cases, or skip."""
    named = os.environ.get("DYNAMOE_FIXTURES")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"no golden cases: {folder} is not there (DYNAMOE_FIXTURES names another)")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Return the folder of the published data sets, or skip."""
    named = os.environ.get("DYNAMOE_DATA")
    folder = Path(named) if named else CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no data sets: {folder} is not there (DYNAMOE_DATA names another)")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a generator with a fixed seed."""
    return np.random.default_rng(20260301)


@pytest.fixture
def model() -> dm.Model:
    """Return a small classifier that was trained a little, so that all state is in use."""
    return classifier(trained=True)


@pytest.fixture(autouse=True)
def default_threads():
    """Give every test the thread count that the library began with."""
    count = dm.get_threads()
    yield
    dm.set_threads(count)
