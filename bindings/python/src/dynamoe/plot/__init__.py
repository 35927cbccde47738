"""Figures of trainings and routing. Needs matplotlib (``pip install 'dynamoe[plot]'``).

Every function draws into `axes` if given, otherwise into a new figure, and returns the figure.
Layers and experts count from 0. Colours are told apart by people who see no red or no green, and
in grey: lines and bars have those of Okabe and Ito (2008) and differ in their dashes or places as
well, maps have ``cividis`` of Nuñez, Anderton and Renslow (2018).
"""

from ._overview import overview
from ._routing import coactivation, expert_load, k_histogram
from ._schedules import experts
from ._traces import experts_by_class, k_against_entropy
from ._training import accuracy_against_k, history

__all__ = [
    "accuracy_against_k",
    "coactivation",
    "expert_load",
    "experts",
    "experts_by_class",
    "history",
    "k_against_entropy",
    "k_histogram",
    "overview",
]
