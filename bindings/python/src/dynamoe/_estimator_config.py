"""The configuration of the model behind a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WARMUP_SHARE = 0.05
# For tables of hundreds to tens of thousands of rows, which a model learns by heart without decay;
# docs/scikit-learn.md has the measurements.
_ADAMW = {"lr": 0.004, "weight_decay": 2}


def model_config(
    parameters: Mapping[str, Any], task: str, inputs: int, outputs: int, steps: int | None
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
    steps : int or None
        Optimizer steps that are planned; None when nobody knows.
    """
    config: dict[str, Any] = {
        "task": task,
        "inputs": inputs,
        "outputs": outputs,
        "experts": _experts(parameters),
        "router": _router(parameters["router"], parameters["target_active"]),
        "optimizer": _optimizer(parameters, steps),
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


def _optimizer(parameters: Mapping[str, Any], steps: int | None) -> Any:
    given = {} if parameters["optimizer"] is None else parameters["optimizer"]
    if not isinstance(given, Mapping):
        raise ValueError(f"optimizer: got {given!r}, allowed is a dict")
    optimizer = dict(given)
    for name in ("lr", "weight_decay"):
        if parameters[name] is not None:
            optimizer[name] = parameters[name]
    if optimizer.get("kind", "adamw") == "adamw":
        optimizer = {**_ADAMW, **optimizer}
    if steps is not None and "total" not in optimizer:
        optimizer.setdefault("warmup", int(_WARMUP_SHARE * steps))
        optimizer["total"] = max(steps, int(optimizer["warmup"]) + 1)
    return optimizer
