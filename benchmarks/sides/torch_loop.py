"""torch_loop.py FOLDER MODE KIND: the network in PyTorch, a loop over experts with index_add_.

MODE: `infer`, `train`, or `train_dx`, which also computes the gradient by the rows.

KIND: `eager`, what a user writes; `onednn`, oneDNN products in place of MKL's, which on AMD use
AVX2 only; `dense`, all experts for all rows; `compile` and `dense_compile`, through torch.compile.
Optimizer: fused AdamW.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from case import Case
from protocol import serve


def gelu_tanh(t):
    return F.gelu(t, approximate="tanh")


# The name of the activation to oneDNN's fused product, and its algorithm.
ACTIVATIONS = {"relu": F.relu, "gelu_tanh": gelu_tanh, "swiglu": F.silu, "none": lambda t: t}
FUSED = {
    "relu": ("relu", ""),
    "gelu_tanh": ("gelu", "tanh"),
    "swiglu": ("swish", ""),
    "none": ("none", ""),
}


class OneDNNProduct(torch.autograd.Function):
    """x · weightᵀ + bias with oneDNN in both directions."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx, d):
        x, weight = ctx.saved_tensors
        d = d.contiguous()
        dx = product(d, weight.t()) if ctx.needs_input_grad[0] else None
        return dx, product(d.t(), x.t()), d.sum(0) if ctx.has_bias else None


def product(x, weight, bias=None, activation="none"):
    name, algorithm = FUSED[activation]
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, name, [], algorithm)


class Products:
    """activation(x · weightᵀ + bias) in one of three ways."""

    def __init__(self, kind, training, rows):
        self.onednn, self.training, self.rows = kind == "onednn", training, rows

    def weight(self, value):
        """Return what `__call__` wants as the weight: for inference oneDNN orders it once."""
        if self.onednn and not self.training:
            return torch.ops.mkldnn._reorder_linear_weight(value.detach(), self.rows)
        return value

    def __call__(self, x, weight, bias, activation="none"):
        if self.onednn and not self.training:
            return product(x, weight, bias, activation)
        if self.onednn:
            return ACTIVATIONS[activation](OneDNNProduct.apply(x, weight, bias))
        return ACTIVATIONS[activation](F.linear(x, weight, bias))


class Router(torch.nn.Module):
    """Who is active, with what weight."""

    def __init__(self, tensors, prefix, case):
        super().__init__()
        self.activation, self.gated = case.activation, case.activation == "swiglu"
        self.masks, self.skip_empty = [], True
        self.threshold = float(tensors[prefix + "router.threshold"][0])
        self.router = parameter(tensors[prefix + "router.weight"])

    def prepare(self):
        """Bring the weights into the order that the products want."""

    def route(self, h):
        scores = torch.softmax(F.linear(h, self.router), 1)
        mask = (scores > self.threshold) | (scores == scores.max(1, keepdim=True).values)
        if self.masks is not None:
            self.masks[:] = [mask]
        return scores, mask


class DenseExperts(Router):
    """All experts for all rows in batched products; most are then weighted with 0."""

    def __init__(self, tensors, prefix, case, _):
        super().__init__(tensors, prefix, case)
        for part in ("up", "gate", "down"):
            weight = tensors.get(f"{prefix}experts.{part}.weight")
            bias = tensors.get(f"{prefix}experts.{part}.bias")
            if weight is not None:
                setattr(self, part, parameter(np.ascontiguousarray(weight.transpose(0, 2, 1))))
            setattr(self, f"{part}_bias", None if bias is None else parameter(bias))

    def forward(self, h):
        scores, mask = self.route(h)
        x = h.expand(len(self.up), *h.shape)

        def product(x, part):
            bias = getattr(self, f"{part}_bias")
            weight = getattr(self, part)
            return torch.bmm(x, weight) if bias is None else torch.baddbmm(bias[:, None], x, weight)

        activation = ACTIVATIONS[self.activation]
        t = activation(product(x, "gate" if self.gated else "up"))
        if self.gated:
            t = t * product(x, "up")
        return torch.einsum("end,ne->nd", product(t, "down"), scores * mask)


class Experts(Router):
    """One parameter an expert, as a list of modules would hold them."""

    def __init__(self, tensors, prefix, case, products):
        super().__init__(tensors, prefix, case)
        self.products = products
        for part in ("up", "gate", "down"):
            for kind in ("weight", "bias"):
                stacked = tensors.get(f"{prefix}experts.{part}.{kind}")
                if stacked is not None:
                    values = torch.nn.ParameterList([parameter(value) for value in stacked])
                    setattr(self, f"{part}_{kind}", values)
        self.bias = hasattr(self, "up_bias")

    def prepare(self):
        for part in ("up", "gate", "down") if self.gated else ("up", "down"):
            weights = getattr(self, f"{part}_weight")
            setattr(self, f"{part}_used", [self.products.weight(value) for value in weights])

    def forward(self, h):
        scores, mask = self.route(h)
        out = torch.zeros_like(h)
        linear = self.products
        for e in range(len(self.up_used)):
            rows = mask[:, e].nonzero(as_tuple=True)[0]
            if self.skip_empty and not rows.numel():
                continue
            x = h[rows]
            up_bias, down_bias = (self.up_bias[e], self.down_bias[e]) if self.bias else (None, None)
            if self.gated:
                t = linear(x, self.gate_used[e], None, self.activation)
                t = t * linear(x, self.up_used[e], up_bias)
            else:
                t = linear(x, self.up_used[e], up_bias, self.activation)
            o = linear(t, self.down_used[e], down_bias)
            out.index_add_(0, rows, o * scores[rows, e, None])
        return out


class Network(torch.nn.Module):
    """The whole network, or a single layer."""

    def __init__(self, case, products, experts):
        super().__init__()
        tensors = case.tensors()
        self.is_layer, self.products = case.is_layer, products
        prefixes = [f"layers.{index}." for index in range(len(case.experts))]
        self.layers = torch.nn.ModuleList(experts(tensors, p, case, products) for p in prefixes)
        names = (
            "input.weight",
            "input.bias",
            "embedding.weight",
            "norm.weight",
            "head.weight",
            "head.bias",
        )
        for name in names:
            value = tensors.get(name)
            setattr(self, name.replace(".", "_"), None if value is None else parameter(value))
        norms = [] if case.is_layer else [parameter(tensors[p + "norm.weight"]) for p in prefixes]
        self.norms = torch.nn.ParameterList(norms)

    def prepare(self):
        """Bring the weights into the order that the products want."""
        for layer in self.layers:
            layer.prepare()
        if not self.is_layer:
            head = self.embedding_weight if self.head_weight is None else self.head_weight
            self.head_used = self.products.weight(head)
        if self.input_weight is not None:
            self.input_used = self.products.weight(self.input_weight)

    def forward(self, x):
        if self.is_layer:
            return self.layers[0](x)
        if self.input_weight is None:
            h = F.embedding(x, self.embedding_weight)
        else:
            h = self.products(x, self.input_used, self.input_bias)
        for norm, layer in zip(self.norms, self.layers):  # noqa: B905 (torch.compile knows no strict)
            h = h + layer(rms(h, norm))
        return self.products(rms(h, self.norm_weight), self.head_used, self.head_bias)


def parameter(value: np.ndarray) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(np.array(value)))


def rms(h, weight):
    return h * torch.rsqrt(h.pow(2).mean(1, keepdim=True) + 1e-6) * weight


def compiled(network: Network, function):
    """Return the function through torch.compile, the loop over experts in one graph."""
    import torch._dynamo as dynamo

    dynamo.config.capture_dynamic_output_shape_ops = True
    dynamo.config.capture_scalar_outputs = True
    for layer in network.layers:
        layer.skip_empty = False  # a branch on data would cut the graph
        layer.masks = None
    return torch.compile(function)


def optimizer(network: Network) -> torch.optim.Optimizer:
    groups: tuple[list, list] = [], []
    for name, value in network.named_parameters():
        groups[name.startswith("norm") or "bias" in name].append(value)
    decays = (
        {"params": groups[0], "weight_decay": 0.01},
        {"params": groups[1], "weight_decay": 0.0},
    )
    return torch.optim.AdamW([group for group in decays if group["params"]], lr=1e-5, fused=True)


def main(folder, mode, kind):
    """Load the case and serve."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    case = Case(folder)
    products = Products(kind, mode != "infer", max(1, case.rows // 2))
    network = Network(case, products, DenseExperts if kind.startswith("dense") else Experts)
    network.prepare()
    x, targets = torch.from_numpy(case.x()), torch.from_numpy(case.targets())
    if mode == "train_dx":
        x.requires_grad_()  # as a layer inside a network has it
    targets = targets if targets.dtype == torch.float32 else targets.long()
    criterion = F.mse_loss if targets.dtype == torch.float32 else F.cross_entropy

    def loss():
        return criterion(network(x), targets)

    def output(rows):
        with torch.inference_mode():
            for layer in network.layers:
                layer.masks, kept = [], layer.masks
            outputs = network(torch.from_numpy(rows)).numpy()
            masks = [layer.masks[0].numpy() for layer in network.layers]
            for layer in network.layers:
                layer.masks = kept
        return outputs, masks

    if mode != "infer":
        compute, update = (
            compiled(network, loss) if kind.endswith("compile") else loss,
            optimizer(network),
        )

        def step():
            update.zero_grad(set_to_none=True)
            x.grad = None
            compute().backward()
            update.step()

    else:
        forward = compiled(network, network.forward) if kind.endswith("compile") else network

        def step():
            with torch.inference_mode():
                forward(x)

    serve(case, step, output)


main(*sys.argv[1:])
