"""The configuration of the model behind a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WARMUP_SHARE = 0.05
# Small tables are learned by heart without decay; docs/scikit-learn.md has the measurements. The
# decay falls with the batches of an epoch, so that weights forget over the same number of epochs:
# Wang and Aitchison, arXiv 2405.13698.
_RATE = 0.004
_LARGEST_DECAY = 2.0
_DECAY_TIMES_BATCHES = 64.0


def model_config(
    parameters: Mapping[str, Any], task: str, inputs: int, outputs: int, batches: int | None
) -> dict[str, Any]:
    """Return the configuration of a model.

    Parameters
    ----------
    parameters : mapping
        The estimator's parameters by name.
    task : str
        Of the model.
    inputs, outputs : int
        Of the data.
    batches : int or None
        Of an epoch; None when nobody knows what will come.
    """
    config: dict[str, Any] = {
        "task": task,
        "inputs": inputs,
        "outputs": outputs,
        "experts": _experts(parameters),
        "router": _router(parameters["router"], parameters["target_active"]),
        "optimizer": _optimizer(parameters, batches),
    }
    if parameters["losses"] is not None:
        config["losses"] = parameters["losses"]
    plain = ("width", "hidden", "shared_experts", "activation", "bias", "residual", "norm")
    return {**config, **{name: parameters[name] for name in plain}}


def _experts(parameters: Mapping[str, Any]) -> Any:
    experts, schedule, layers = (parameters[name] for name in ("experts", "schedule", "layers"))
    if isinstance(experts, bool) or not hasattr(experts, "__index__"):
        for name, value in (("schedule", schedule), ("layers", layers)):
            if value is not None:
                raise ValueError(
                    f"{name}: got {value!r} beside experts={experts!r}, allowed is {name} beside "
                    "an integer; a list or a schedule in experts says it all"
                )
        return experts
    most = int(experts)
    return {
        "schedule": "descending" if schedule is None else schedule,
        "layers": 2 if layers is None else layers,
        "minimum": max(1, most // 4),
        "maximum": most,
    }


def _router(router: Any, target_active: Any) -> Any:
    if isinstance(router, (list, tuple)):
        return [_router(one, target_active) for one in router]
    made = {"kind": router} if isinstance(router, str) else router
    if not isinstance(made, Mapping):
        raise ValueError(
            f"router: got {router!r}, allowed is the name of a kind, a dict, or a list of them"
        )
    made = dict(made)
    if target_active is not None:
        made["target_active"] = target_active
    elif made.get("kind") in ("threshold", "expert_threshold"):
        made.setdefault("target_active", 2)
    return made


def _optimizer(parameters: Mapping[str, Any], batches: int | None) -> Any:
    given = {} if parameters["optimizer"] is None else parameters["optimizer"]
    if not isinstance(given, Mapping):
        raise ValueError(f"optimizer: got {given!r}, allowed is a dict")
    optimizer = dict(given)
    for name in ("lr", "weight_decay"):
        if parameters[name] is not None:
            optimizer[name] = parameters[name]
    adamw = optimizer.get("kind", "adamw") == "adamw"
    if adamw:
        optimizer.setdefault("lr", _RATE)
    if batches is None:
        return optimizer
    if adamw:
        decay = min(_LARGEST_DECAY, _DECAY_TIMES_BATCHES / batches)
        optimizer.setdefault("weight_decay", decay)
    if "total" not in optimizer:
        steps = batches * int(parameters["max_iter"])
        warmup = optimizer.setdefault("warmup", int(_WARMUP_SHARE * steps))
        optimizer["total"] = max(steps, warmup + 1) if isinstance(warmup, int) else steps
    return optimizer
