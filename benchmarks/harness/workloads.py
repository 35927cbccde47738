"""The networks and batches that are timed; each is made once as a folder that every side reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

GATED = ("swiglu", "geglu")


@dataclass(frozen=True)
class Workload:
    """A network with a batch.

    `target` is the mean K of every layer, None: half of the layer's experts. `layer`: a single layer without
    input, norm and head. `together`: whether all sides fit into memory at once.
    """

    name: str
    title: str
    width: int
    experts: tuple[int, ...]
    hidden: int
    rows: int
    activation: str = "relu"
    task: str = "classification"
    inputs: int = 0
    vocabulary: int = 0
    outputs: int = 0
    target: float | None = None
    router: str = "threshold"
    bias: bool = True
    layer: bool = False
    together: bool = True

    def targets(self) -> list[float]:
        """Return the mean K aimed at, layer by layer."""
        return [count / 2 if self.target is None else self.target for count in self.experts]

    def configuration(self) -> dict[str, Any]:
        """Return what `dynamoe.Model`, or `dynamoe.MoELayer`, is made from."""
        if self.router == "top_k":
            router: dict[str, Any] = {"kind": "top_k", "k": int(self.targets()[0])}
        else:
            targets = self.targets()
            router = {"kind": self.router, "target_active": targets[0] if self.layer else targets}
        common = {
            "width": self.width,
            "hidden": self.hidden,
            "activation": self.activation,
            "bias": self.bias,
            "router": router,
            "optimizer": {"lr": 1e-5},  # so small that the routing stays as it is
        }
        if self.layer:
            return {**common, "experts": self.experts[0]}
        rows = {"inputs": self.inputs} if self.inputs else {"vocabulary": self.vocabulary}
        tied = {"tied_embedding": True} if self.task == "language_model" else {}
        return {
            **common,
            **rows,
            **tied,
            "task": self.task,
            "outputs": self.outputs,
            "experts": list(self.experts),
            "norm": "rms",
        }

    def operations(self, pairs: list[float], mode: str) -> float:
        """Return the useful floating-point operations of one step.

        Input projection, routers, active experts and head; `pairs` are the active (row, expert) pairs of each
        layer. A step with backward is three times the forward, less the gradient by the input rows when it is not wanted.
        """
        matrices = 3 if self.activation in GATED else 2
        projection = 2.0 * self.rows * self.inputs * self.width
        routers = sum(2.0 * self.rows * self.width * count for count in self.experts)
        experts = sum(2.0 * pair * matrices * self.width * self.hidden for pair in pairs)
        head = 0.0 if self.layer else 2.0 * self.rows * self.width * self.outputs
        forward = projection + routers + experts + head
        if mode == "infer":
            return forward
        by_rows = projection
        if self.layer and mode != "train_dx":
            by_rows = routers + experts * (matrices - 1) / matrices
        return 3 * forward - by_rows

    def with_rows(self, rows: int) -> Workload:
        """Return the same network with another batch."""
        return replace(self, name=f"{self.name}b{rows}", title=f"{self.name} at batch {rows}", rows=rows)


_W1 = Workload(
    "W1", "784 inputs, width 256, experts 8 6 4 2, hidden 512", 256, (8, 6, 4, 2), 512, 256,
    inputs=784, outputs=10,
)  # fmt: skip
_W2 = Workload(
    "W2", "3,072 inputs, width 512, experts 16 12 8 8 4 4, hidden 1,024", 512, (16, 12, 8, 8, 4, 4),
    1024, 256, inputs=3072, outputs=10,
)  # fmt: skip
_W3 = Workload(
    "W3", "4,096 tokens, width 256, 4 layers of 8 experts, hidden 1,024", 256, (8,) * 4, 1024, 4096,
    activation="gelu_tanh", task="regression", vocabulary=50257, outputs=256,
)  # fmt: skip
_W4 = Workload(
    "W4", "one layer, 4,096 rows, width 1,024, 32 experts, hidden 4,096, mean K 2", 1024, (32,), 4096,
    4096, activation="gelu_tanh", task="regression", inputs=1024, outputs=1024, target=2, layer=True,
    together=False,
)  # fmt: skip

WORKLOADS = {
    workload.name: workload
    for workload in (
        _W1,
        _W2,
        _W3,
        replace(
            _W3, name="W3h", title="W3 with a tied head of 50,257", task="language_model", outputs=50257
        ),
        _W4,
        replace(_W4, name="W4g", title="W4 with SwiGLU", activation="swiglu", bias=False),
        *(network.with_rows(rows) for network in (_W1, _W2) for rows in (1, 16)),
    )
}

# Small enough for the project's tests: every kind of side in a second.
SMOKE = {
    workload.name: workload
    for workload in (
        replace(_W1, name="smoke", rows=32, inputs=20, width=16, experts=(4, 3), hidden=24),
        replace(_W3, name="smoke_tokens", rows=48, vocabulary=500, width=16, experts=(4, 2), hidden=24,
                task="language_model", outputs=500),
        replace(_W4, name="smoke_layer", rows=64, inputs=16, outputs=16, width=16, experts=(6,), hidden=24),
        replace(_W4, name="smoke_gated", rows=64, inputs=16, outputs=16, width=16, experts=(6,), hidden=24,
                activation="swiglu", bias=False),
    )
}  # fmt: skip
