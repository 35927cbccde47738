"""Mixture-of-experts networks whose compute follows the input.

>>> import dynamoe as dm
>>> model = dm.Model(config, seed=0)
>>> history = model.fit(x, targets, epochs=10, validation=(x_test, targets_test))
>>> model.evaluate(x_test, targets_test)["accuracy"]
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._errors import DynaMoEError
from ._library import build_info, get_threads, set_threads, version
from .config import (
    LayerConfig,
    LossesConfig,
    ModelConfig,
    OptimizerConfig,
    RouterConfig,
    ScheduleConfig,
)
from .history import History
from .layer import MoELayer
from .model import Model
from .presets import Preset, preset, presets
from .report import report
from .schedule import schedule
from .session import Session
from .statistics import Routing, RoutingStatistics

if TYPE_CHECKING:
    from . import callbacks, data, plot
    from . import sklearn as sklearn

__version__ = version()

_LATER = ("callbacks", "data", "plot", "sklearn")

__all__ = [
    "DynaMoEError",
    "History",
    "LayerConfig",
    "LossesConfig",
    "MoELayer",
    "Model",
    "ModelConfig",
    "OptimizerConfig",
    "Preset",
    "RouterConfig",
    "Routing",
    "RoutingStatistics",
    "ScheduleConfig",
    "Session",
    "build_info",
    "callbacks",
    "data",
    "get_threads",
    "plot",
    "preset",
    "presets",
    "report",
    "schedule",
    "set_threads",
    "version",
]


def __getattr__(name: str) -> Any:
    # Readers, figures and what needs other packages: imported at first use.
    if name in _LATER:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
