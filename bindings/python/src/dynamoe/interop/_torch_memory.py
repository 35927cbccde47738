"""Parameters and buffers of a layer as PyTorch tensors that share its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from ..layer import MoELayer as Layer


class SharedParameter(torch.nn.Parameter):
    """A parameter in the memory of a layer.

    PyTorch counts what is written to a tensor, but not what is written through its ``data``. So
    that such writes are noticed too, each access to ``data`` counts as one.
    """

    @property
    def data(self) -> torch.Tensor:
        """The values without gradient."""
        self.touched = True
        return torch.Tensor.data.__get__(self)

    @data.setter
    def data(self, value: torch.Tensor) -> None:
        if value.shape != self.shape:
            raise ValueError(
                f"data: got shape {list(value.shape)}, allowed is {list(self.shape)}: values are "
                "copied in, as the parameter keeps its memory"
            )
        with torch.no_grad():
            self.copy_(value)


def _count_step(optimizer: Any, args: Any, kwargs: Any) -> None:
    """Count the step of an optimizer as a write: fused ones write without PyTorch counting it."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if isinstance(parameter, SharedParameter):
                torch.autograd.graph.increment_version(parameter)


register_optimizer_step_post_hook(_count_step)


class Group(torch.nn.Module):
    """Holds shared tensors, which neither move nor change their type."""

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Group:
        probe = fn(torch.zeros(1))
        if probe.device.type != "cpu" or probe.dtype != torch.float32 or probe.is_shared():
            where = "shared memory" if probe.is_shared() else f"{probe.dtype} on {probe.device}"
            raise ValueError(
                f"the module cannot become {where}: its tensors are the memory of a DynaMoE layer, "
                "torch.float32 on the CPU"
            )
        return self

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *rest: Any
    ) -> None:
        # With assign=True PyTorch would put the tensors of the state in place of the shared ones.
        local_metadata = {**local_metadata, "assign_to_params_buffers": False}
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


class _Shared:
    """One tensor, where it is registered, and the state of it that the layer knows."""

    def __init__(self, holder: Group, leaf: str, tensor: torch.Tensor, tensors: Any) -> None:
        self.holder = holder
        self.leaf = leaf
        self.tensor = tensor
        self.tensors = tensors
        self.address = tensor.data_ptr()
        self.version = tensor._version

    def require_in_place(self, name: str) -> None:
        found = getattr(self.holder, self.leaf, None)
        if found is not self.tensor or found.data_ptr() != self.address:
            raise ValueError(
                f"{name}: got another tensor, allowed is the module's own: its memory is the "
                "layer's, copy values in with load_state_dict or copy_ under torch.no_grad()"
            )

    @property
    def was_written(self) -> bool:
        return bool(self.tensor._version != self.version)

    @property
    def may_have_changed(self) -> bool:
        return self.was_written or getattr(self.tensor, "touched", False)


class SharedTensors:
    """All tensors of a layer, registered in a module under the layer's own names."""

    def __init__(self, layer: Layer, root: Group) -> None:
        self.parameters: dict[str, torch.Tensor] = {}
        self._shared: dict[str, _Shared] = {}
        # A tensor of inference mode could not be trained afterwards.
        with torch.inference_mode(False):
            for name in layer.parameters:
                values = torch.from_numpy(layer.parameters.shared(name))
                self.parameters[name] = SharedParameter(values)
                holder, leaf = _holder(root, name)
                holder.register_parameter(leaf, self.parameters[name])
                self._shared[name] = _Shared(holder, leaf, self.parameters[name], layer.parameters)
            for name in layer.buffers:
                values = torch.from_numpy(layer.buffers.shared(name))
                holder, leaf = _holder(root, name)
                holder.register_buffer(leaf, values)
                self._shared[name] = _Shared(holder, leaf, values, layer.buffers)

    def publish(self) -> bool:
        """Put what was written to the tensors in effect; return whether a parameter was written to.

        Raises
        ------
        ValueError
            When a tensor was replaced, or holds NaN or infinity.
        """
        published = False
        for name, shared in self._shared.items():
            shared.require_in_place(name)
            if shared.may_have_changed:
                version, was_written = shared.tensor._version, shared.was_written
                shared.tensors.written(name)
                shared.version = version
                if name in self.parameters:
                    shared.tensor.touched = False
                    published |= was_written
        return published

    def require_unchanged(self) -> None:
        """Raise a RuntimeError when a parameter was written to since the last `publish`."""
        for name in self.parameters:
            if self._shared[name].was_written:
                raise RuntimeError(
                    f"{name} was changed in place between a forward and its backward: "
                    "make the optimizer's step after the backward"
                )

    def __iter__(self) -> Iterator[str]:
        return iter(self.parameters)


def _holder(root: Group, name: str) -> tuple[Group, str]:
    """Return the group that holds a tensor, made where it is missing, and the tensor's name in it.

    PyTorch allows no dots in names: ``experts.up.weight`` is ``weight`` of the group
    ``experts.up``, and so has its name in ``state_dict``.
    """
    *path, leaf = name.split(".")
    group = root
    for part in path:
        if part not in group._modules:
            group.add_module(part, Group())
        group = group._modules[part]
    return group, leaf
