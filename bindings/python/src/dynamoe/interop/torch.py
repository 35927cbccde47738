"""A layer as a PyTorch module, and weights from and to ``torch.nn.Linear``.

Needs PyTorch, the package's extra ``torch``.

>>> from dynamoe.interop.torch import MoELayer
>>> module = MoELayer(dynamoe.MoELayer(config, seed=0))
>>> optimizer = torch.optim.AdamW(module.parameters())
>>> loss = criterion(module(x), targets)
>>> loss.backward()
>>> optimizer.step()
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakMethod, ref

from .._errors import DynaMoEError
from .._library import number
from ..layer import MoELayer as Layer

try:
    import torch
except ImportError as error:
    raise ImportError(
        "dynamoe.interop.torch needs PyTorch: pip install torch, or dynamoe[torch]"
    ) from error

from torch.autograd.function import once_differentiable

from ._torch_linear import from_linear, to_linear
from ._torch_memory import Group, SharedTensors

__all__ = ["MoELayer", "from_linear", "to_linear"]

# Two modules would not see each other's writes.
_modules: WeakKeyDictionary[Layer, ref[MoELayer]] = WeakKeyDictionary()


class MoELayer(Group):
    """A `dynamoe.MoELayer` as a PyTorch module: y [..., D] of x [..., D], float32 on the CPU.

    The parameters are the layer's own memory and have its names (``router.weight``,
    ``experts.up.weight``, …), so do the stored thresholds and other buffers. ``state_dict`` has
    them all. Whatever PyTorch writes to them is in effect from the next forward, of the layer too;
    the layer's ``parameters`` and ``save`` show it at once. The layer's ``gradients`` hold those of
    the latest backward alone; PyTorch adds them up in ``grad``.

    In training mode forward draws the router's noise and moves its stored thresholds. The layer
    keeps one forward for its backward: a later one in training mode replaces it, also under
    ``torch.no_grad()``. In evaluation mode forward changes nothing and keeps nothing, so that a
    backward through it is refused.

    Backward adds the gradients of the layer's weighted auxiliary losses, as if
    ``auxiliary_scale * auxiliary_loss`` were part of the loss.

    The routers' controllers (``balance_rate``, ``target_active`` of ``relu`` and ``top_p``) move in
    the first forward after a backward and a change of the parameters.

    Parameters
    ----------
    layer : dynamoe.MoELayer
        In float32, and in no other module.
    auxiliary_scale : float, default 1
        Multiplies the auxiliary gradients; above 0. To accumulate over n backward passes of
        losses divided by n: 1 / n.

    Attributes
    ----------
    layer : dynamoe.MoELayer
        The layer, for its statistics, routing, calibration and files.

    Raises
    ------
    ValueError
        For anything else than such a layer, or a bad `auxiliary_scale`.

    Examples
    --------
    >>> layer = dynamoe.MoELayer({"width": 32, "experts": 4, "router": {"kind": "top_k", "k": 2}})
    >>> module = MoELayer(layer)
    >>> module(torch.randn(8, 5, 32)).sum().backward()
    >>> module.experts.up.weight.grad.shape
    torch.Size([4, 128, 32])
    """

    layer: Layer

    def __init__(self, layer: Layer, auxiliary_scale: float = 1.0) -> None:
        super().__init__()
        if not isinstance(layer, Layer):
            raise ValueError(
                f"layer: got {type(layer).__name__}, allowed is an object of dynamoe.MoELayer"
            )
        if layer.precision != "float32":
            raise ValueError(f"layer: got one in {layer.precision}, allowed is one in float32")
        if (other := _modules.get(layer)) is not None and other() is not None:
            raise ValueError("layer: got one that is in a module already, allowed is one module")
        self.auxiliary_scale = auxiliary_scale
        self._adopt(layer)

    def _adopt(self, layer: Layer) -> None:
        config = layer.config
        losses, router = config["losses"], config["router"]
        kind, aims = router["kind"], router.get("target_active") is not None
        self.layer = layer
        self._tensors = SharedTensors(layer, self)
        self._has_auxiliary = any(losses[name] for name in ("balance", "z", "entropy")) or (
            kind == "relu" and aims
        )
        self._has_controller = bool(router.get("balance_rate")) or (
            kind in ("relu", "top_p") and aims
        )
        # The number of the forward whose gradients were made last.
        self._finished = -1
        self._controlled = True
        _modules[layer] = ref(self)
        # Without a cycle, so that memory goes with the last reference.
        synchronize = WeakMethod(self._synchronize)
        layer._synchronize = lambda: (call := synchronize()) and call()

    @property
    def auxiliary_scale(self) -> float:
        """What the auxiliary gradients are multiplied with."""
        return self._auxiliary_scale

    @auxiliary_scale.setter
    def auxiliary_scale(self, value: float) -> None:
        scale = number(value, "auxiliary_scale")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(
                f"auxiliary_scale: got {scale}, allowed is a finite number above 0 (coefficients "
                "of 0 in the layer's configuration switch the losses off)"
            )
        self._auxiliary_scale = scale

    @property
    def auxiliary_loss(self) -> torch.Tensor:
        """The weighted auxiliary losses of the latest forward in training mode, a number [].

        Without gradient, as backward adds its own: adding it to the loss changes what is shown,
        not what is trained.

        Raises
        ------
        DynaMoEError
            Before any forward in training mode.
        """
        return torch.tensor(self.layer.losses["total"], dtype=torch.float32, device="cpu")

    # ----------------------------------------------------------------------------- passes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return y.

        Parameters
        ----------
        x : torch.Tensor
            float32 [..., D] on the CPU; under ``torch.autocast`` of any floating-point type.

        Returns
        -------
        torch.Tensor
            float32 [..., D].

        Raises
        ------
        ValueError
            For another shape, type or device, NaN or infinity, in `x` or a parameter; without rows
            in training mode.
        """
        x = self._checked(x)
        rows = x.reshape(-1, self.layer._width)
        parameters = self._tensors.parameters.values()
        if torch.is_grad_enabled() and any(t.requires_grad for t in (rows, *parameters)):
            function = _TrainingForward if self.training else _Evaluation
            y = function.apply(self, rows, *parameters)
        else:
            y = self._run(rows, self.training)
        return y.reshape(x.shape)

    def _checked(self, x: Any) -> torch.Tensor:
        width = self.layer._width
        if not isinstance(x, torch.Tensor):
            raise ValueError(f"x: got {type(x).__name__}, allowed is a torch.Tensor")
        if x.device.type != "cpu":
            raise ValueError(f"x: got a tensor on {x.device}, allowed is the CPU: x.cpu()")
        if x.is_floating_point() and torch.is_autocast_enabled("cpu"):
            x = x.float()
        if x.dtype != torch.float32:
            raise ValueError(f"x: got {x.dtype}, allowed is torch.float32: x.float()")
        if x.ndim == 0 or x.shape[-1] != width:
            raise ValueError(f"x: got shape {list(x.shape)}, allowed is [..., {width}]")
        return x

    def _run(self, rows: torch.Tensor, training: bool) -> torch.Tensor:
        y = torch.empty(rows.shape, dtype=torch.float32, device="cpu")
        self.layer.forward(rows.detach(), training=training, out=y.numpy())
        return y

    def _synchronize(self) -> None:
        """Put in effect what PyTorch wrote; called by the layer before it uses its parameters."""
        if self._tensors.publish() and not self._controlled:
            if self._has_controller:
                self.layer.zero_gradients()
                self.layer.step(lr=0.0)
            self._controlled = True

    def _forwards(self) -> int:
        return int(self.layer._info().training_forwards)

    def _gradients(
        self, dy: torch.Tensor, forward: int, needed: Iterable[bool]
    ) -> tuple[torch.Tensor | None, ...]:
        """Return dLoss/dx and the gradients of the parameters, None where not needed."""
        if forward == self._finished:
            raise DynaMoEError(
                "this forward had its backward: the layer keeps nothing for a second one"
            )
        if forward != self._forwards():
            raise DynaMoEError(
                "a later forward in training mode replaced the one of this backward: call backward "
                "before the next forward, or join the batches"
            )
        self._tensors.require_unchanged()
        scale = self._auxiliary_scale if self._has_auxiliary else 1.0
        self.layer.zero_gradients()
        dx = torch.from_numpy(self.layer.backward(dy if scale == 1 else dy / scale))
        self._finished, self._controlled = forward, False
        # The layer's gradients are overwritten by the next backward: PyTorch gets copies.
        views = (torch.from_numpy(self.layer.gradients[name]) for name in self._tensors)
        needs_dx, *needs = needed
        gradients = [
            view.clone() if need else None for view, need in zip(views, needs, strict=True)
        ]
        results = [dx if needs_dx else None, *gradients]
        if scale != 1:
            results = [None if result is None else result.mul_(scale) for result in results]
        return tuple(results)

    # ----------------------------------------------------------------------------- copies

    def __getstate__(self) -> dict[str, Any]:
        state = {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("layer", "_tensors", "_modules")
        }
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "layer.safetensors"
            self.layer.save(path)
            state["file"] = path.read_bytes()
        parameters = self._tensors.parameters.items()
        state["requires_grad"] = {name: tensor.requires_grad for name, tensor in parameters}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        file, requires_grad = state.pop("file"), state.pop("requires_grad")
        super().__setstate__({**state, "_modules": {}})
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "layer.safetensors"
            path.write_bytes(file)
            self._adopt(Layer.load(path))
        for name, tensor in self._tensors.parameters.items():
            tensor.requires_grad_(requires_grad[name])
        self.train(self.training)

    def extra_repr(self) -> str:
        """Return what the layer is."""
        return "closed" if self.layer.closed else self.layer._summary()


class _TrainingForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, module: MoELayer, rows: torch.Tensor, *parameters: torch.Tensor
    ) -> torch.Tensor:
        y = module._run(rows, True)
        ctx.module, ctx.number = module, module._forwards()
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (None, *ctx.module._gradients(dy, ctx.number, ctx.needs_input_grad[1:]))


class _Evaluation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, module: MoELayer, rows: torch.Tensor, *parameters: torch.Tensor
    ) -> torch.Tensor:
        return module._run(rows, False)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        raise DynaMoEError(
            "a forward in evaluation mode has no backward: call train() before it, or detach its "
            "result"
        )
