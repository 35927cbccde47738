"""routers.py NETWORK STEPS: training steps of the network described by the JSON text NETWORK.

Prints the mean number of active experts. Run with DYNAMOE_PROFILE=1, which writes where the time
went when the process ends.
"""

from __future__ import annotations

import json
import sys

import dynamoe as dm
from prepare import batch


def main(network: str, steps: int) -> None:
    """Train."""
    work = json.loads(network)
    model = dm.Model(work["configuration"], seed=0)
    x, targets = batch(work, work["rows"])
    for _ in range(steps):
        model.train_batch(x, targets)
    active = [layer.mean_k for layer in model.routing_stats()]
    print(sum(active) / len(active))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
