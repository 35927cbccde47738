"""The networks and batches that are timed; each is made once as a folder that every side reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

GATED = ("swiglu", "geglu")


@dataclass(frozen=True)
class Workload:
    """A network with a batch.

    `target` is the mean K of every layer, None: half of the layer's experts. `layer`: a single
    layer without input, norm and head. `together`: whether all sides fit into memory at once.
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
    bias: bool = True
    layer: bool = False
    together: bool = True

    def targets(self) -> list[float]:
        """Return the mean K aimed at, layer by layer."""
        return [count / 2 if self.target is None else self.target for count in self.experts]

    def configuration(self) -> dict[str, Any]:
        """Return what `dynamoe.Model`, or `dynamoe.MoELayer`, is made from."""
        targets = self.targets()
        common = {
            "width": self.width,
            "hidden": self.hidden,
            "activation": self.activation,
            "bias": self.bias,
            "router": {"kind": "threshold", "target_active": targets[0] if self.layer else targets},
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

    @property
    def matrices(self) -> int:
        """Return the matrices of an expert."""
        return 3 if self.activation in GATED else 2

    def operations(self, active: Sequence[float], mode: str) -> float:
        """Return the useful floating-point operations of one step.

        Input projection, routers, active experts and head; `active` is the mean K of each layer. A
        step with backward is three times the forward, less the gradient by the input rows when it
        is not wanted.
        """
        projection = 2.0 * self.rows * self.inputs * self.width * (not self.layer)
        routers = sum(2.0 * self.rows * self.width * count for count in self.experts)
        pairs = self.rows * sum(active)
        experts = 2.0 * pairs * self.matrices * self.width * self.hidden
        head = 2.0 * self.rows * self.width * self.outputs * (not self.layer)
        forward = projection + routers + experts + head
        if mode == "infer":
            return forward
        by_rows = projection
        if self.layer and mode != "train_dx":
            by_rows = routers + experts * (self.matrices - 1) / self.matrices
        return 3 * forward - by_rows

    def weight_bytes(self, used: Sequence[int]) -> float:
        """Return the bytes of the weights of one forward; `used`: experts in use, by layer."""
        experts = sum(used) * self.matrices * self.width * self.hidden
        routers = sum(self.experts) * self.width
        ends = 0 if self.layer else self.width * (self.inputs + self.outputs)
        return 4.0 * (experts + routers + ends)

    def parameter_bytes(self) -> float:
        """Return the bytes of the matrices that an optimizer updates."""
        embedding = self.vocabulary if self.task != "language_model" else 0  # the tied head counts
        return self.weight_bytes(self.experts) + 4.0 * embedding * self.width

    def with_rows(self, rows: int) -> Workload:
        """Return the same network with another batch."""
        name, title = f"{self.name}b{rows}", f"{self.name} at batch {rows}"
        return replace(self, name=name, title=title, rows=rows)


W1 = Workload(
    name="W1",
    title="784 inputs, width 256, experts 8, 6, 4, 2 of hidden size 512, 256 rows",
    width=256,
    experts=(8, 6, 4, 2),
    hidden=512,
    rows=256,
    inputs=784,
    outputs=10,
)
W2 = Workload(
    name="W2",
    title="3,072 inputs, width 512, experts 16, 12, 8, 8, 4, 4 of hidden size 1,024, 256 rows",
    width=512,
    experts=(16, 12, 8, 8, 4, 4),
    hidden=1024,
    rows=256,
    inputs=3072,
    outputs=10,
)
W3 = Workload(
    name="W3",
    title="4,096 tokens, width 256, 4 layers of 8 experts of hidden size 1,024",
    width=256,
    experts=(8,) * 4,
    hidden=1024,
    rows=4096,
    activation="gelu_tanh",
    task="regression",
    vocabulary=50257,
    outputs=256,
)
W3H = replace(
    W3,
    name="W3h",
    title="W3 with a head of 50,257 tied to the embedding",
    task="language_model",
    outputs=50257,
)
W4 = Workload(
    name="W4",
    title="one layer, 4,096 rows, width 1,024, 32 experts of hidden size 4,096, mean K 2",
    width=1024,
    experts=(32,),
    hidden=4096,
    rows=4096,
    activation="gelu_tanh",
    task="regression",
    inputs=1024,
    outputs=1024,
    target=2,
    layer=True,
    together=False,
)
W4G = replace(
    W4, name="W4g", title="W4 with gated experts (SwiGLU)", activation="swiglu", bias=False
)
# One layer as in W3, of which growth varies a size at a time.
LAYER = replace(W4, name="layer", title="a layer", width=256, experts=(8,), hidden=1024, inputs=256,
                outputs=256, rows=4096, together=True)  # fmt: skip
