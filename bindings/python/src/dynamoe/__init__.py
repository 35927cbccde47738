"""Mixture-of-experts networks whose compute follows the input.

>>> import dynamoe as dm
>>> model = dm.Model(config, seed=0)
>>> history = model.fit(x, targets, epochs=10, validation=(x_test, targets_test))
>>> model.evaluate(x_test, targets_test)["accuracy"]
"""

from . import data, plot
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
from .statistics import Routing, RoutingStatistics

__version__ = version()

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
    "build_info",
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
