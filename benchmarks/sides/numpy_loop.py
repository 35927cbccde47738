"""numpy_loop.py FOLDER MODE: the network in NumPy with a backward by hand, a loop over experts.

MODE: `infer`, `train`, or `train_dx`, in which a single layer also computes the gradient by the
rows.
"""

from __future__ import annotations

import math
import sys

import numpy as np

from case import Case
from protocol import serve

F = np.float32
ROOT = F(math.sqrt(2 / math.pi))


def relu(a):
    """Return the activation and what its derivative needs."""
    return np.maximum(a, 0), None


def relu_derivative(a, _):
    return (a > 0).astype(F)


def gelu_tanh(a):
    tangent = np.tanh(ROOT * (a + F(0.044715) * a * a * a))
    return F(0.5) * a * (1 + tangent), tangent


def gelu_tanh_derivative(a, tangent):
    inner = ROOT * (1 + F(3 * 0.044715) * a * a)
    return F(0.5) * (1 + tangent) + F(0.5) * a * (1 - tangent * tangent) * inner


def silu(a):
    sigmoid = 1 / (1 + np.exp(-a))
    return a * sigmoid, sigmoid


def silu_derivative(a, sigmoid):
    return sigmoid * (1 + a * (1 - sigmoid))


ACTIVATIONS = {
    "relu": (relu, relu_derivative),
    "gelu_tanh": (gelu_tanh, gelu_tanh_derivative),
    "swiglu": (silu, silu_derivative),
}


class Norm:
    """Root mean square norm with a weight."""

    def __init__(self, weight):
        self.weight = weight

    def forward(self, h):
        self.scale = 1 / np.sqrt((h * h).mean(1, keepdims=True) + F(1e-6))
        self.unit = h * self.scale
        return self.unit * self.weight

    def backward(self, d):
        gradient = (d * self.unit).sum(0)
        d = d * self.weight
        return self.scale * (d - self.unit * (d * self.unit).mean(1, keepdims=True)), gradient


class Layer:
    """Router and experts; weights are held [in, out]."""

    def __init__(self, prefix, parameters, threshold, activation):
        self.prefix, self.p, self.threshold = prefix, parameters, threshold
        self.gated = activation == "swiglu"
        self.act, self.derivative = ACTIVATIONS[activation]

    def name(self, part):
        return f"{self.prefix}{part}"

    def forward(self, n, keep):
        p, name = self.p, self.name
        logits = n @ p[name("router.weight")]
        e = np.exp(logits - logits.max(1, keepdims=True))
        self.scores = e / e.sum(1, keepdims=True)
        best = self.scores.max(1, keepdims=True)
        self.mask = (self.scores > self.threshold) | (self.scores == best)
        self.n, self.kept = n, []
        up, down = p[name("experts.up.weight")], p[name("experts.down.weight")]
        out = np.zeros_like(n)
        for expert in range(len(up)):
            rows = np.flatnonzero(self.mask[:, expert])
            if not rows.size:
                self.kept.append(None)
                continue
            x = n[rows]
            u, gate = x @ up[expert], None
            if name("experts.up.bias") in p:
                u += p[name("experts.up.bias")][expert]
            if self.gated:
                gate = x @ p[name("experts.gate.weight")][expert]
                a, auxiliary = self.act(gate)
                t = a * u
            else:
                t, auxiliary = self.act(u)
            o = t @ down[expert]
            if name("experts.down.bias") in p:
                o += p[name("experts.down.bias")][expert]
            out[rows] += o * self.scores[rows, expert, None]
            self.kept.append((rows, x, u, gate, auxiliary, t, o) if keep else None)
        return out

    def backward(self, dy, gradients, needs_input=True):
        p, name = self.p, self.name
        dn, dscores = np.zeros_like(self.n), np.zeros_like(self.scores)
        mine = {key: np.zeros_like(p[key]) for key in p if key.startswith(name("experts."))}
        up, down = p[name("experts.up.weight")], p[name("experts.down.weight")]
        for expert, kept in enumerate(self.kept):
            if kept is None:
                continue
            rows, x, u, gate, auxiliary, t, o = kept
            d = dy[rows]
            dscores[rows, expert] = (d * o).sum(1)
            d *= self.scores[rows, expert, None]
            np.matmul(t.T, d, out=mine[name("experts.down.weight")][expert])
            dt = d @ down[expert].T
            if self.gated:
                du = dt * (gate * auxiliary)
                dgate = dt * u * self.derivative(gate, auxiliary)
                np.matmul(x.T, dgate, out=mine[name("experts.gate.weight")][expert])
            else:
                du = dt * self.derivative(u, auxiliary)
            np.matmul(x.T, du, out=mine[name("experts.up.weight")][expert])
            if name("experts.up.bias") in p:
                mine[name("experts.up.bias")][expert] = du.sum(0)
                mine[name("experts.down.bias")][expert] = d.sum(0)
            if needs_input:
                dx = du @ up[expert].T
                if self.gated:
                    dx += dgate @ p[name("experts.gate.weight")][expert].T
                dn[rows] += dx
        s = self.scores
        dlogits = s * (dscores - (dscores * s).sum(1, keepdims=True))
        mine[name("router.weight")] = self.n.T @ dlogits
        gradients.update(mine)
        return dn + dlogits @ p[name("router.weight")].T if needs_input else None


class Network:
    """The whole network, or a single layer, with AdamW."""

    def __init__(self, case):
        self.case, self.steps = case, 0
        tensors = case.tensors()
        # Weights of products are held [in, out]; the embedding is a table of rows.
        self.p = {
            name: np.ascontiguousarray(np.swapaxes(value, -1, -2))
            if value.ndim > 1 and name.endswith(".weight") and name != "embedding.weight"
            else value
            for name, value in tensors.items()
            if not name.endswith(("router.threshold", "router.control"))
        }
        self.layers, self.norms = [], []
        for index in range(len(case.experts)):
            prefix = f"layers.{index}."
            threshold = tensors[prefix + "router.threshold"]
            self.layers.append(Layer(prefix, self.p, threshold, case.activation))
            if not case.is_layer:
                self.norms.append(Norm(self.p[prefix + "norm.weight"]))
        self.final = None if case.is_layer else Norm(self.p["norm.weight"])
        self.moments = dict.fromkeys(self.p)

    def head(self):
        return self.p["head.weight"] if "head.weight" in self.p else self.p["embedding.weight"].T

    def forward(self, x, keep=False):
        p, self.x = self.p, x
        if self.case.is_layer:
            return self.layers[0].forward(x, keep)
        h = (
            x @ p["input.weight"] + p["input.bias"]
            if self.case.inputs
            else p["embedding.weight"][x]
        )
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = h + layer.forward(norm.forward(h), keep)
        self.last = self.final.forward(h)
        outputs = self.last @ self.head()
        if "head.bias" in p:
            outputs += p["head.bias"]
        return outputs

    def output_gradient(self, outputs, targets):
        if targets.ndim == 2:
            outputs -= targets
            outputs *= F(2 / outputs.size)
            return outputs
        outputs -= outputs.max(1, keepdims=True)
        np.exp(outputs, out=outputs)
        outputs /= outputs.sum(1, keepdims=True)
        outputs[np.arange(len(targets)), targets] -= 1
        outputs /= F(len(targets))
        return outputs

    def backward(self, d, needs_input=False):
        gradients = {}
        if self.case.is_layer:
            self.layers[0].backward(d, gradients, needs_input)
            return gradients
        tied = "head.weight" not in self.p
        if tied:
            gradients["embedding.weight"] = d.T @ self.last
        else:
            gradients["head.weight"] = self.last.T @ d
        if "head.bias" in self.p:
            gradients["head.bias"] = d.sum(0)
        dh, gradients["norm.weight"] = self.final.backward(d @ self.head().T)
        for index in reversed(range(len(self.layers))):
            dn = self.layers[index].backward(dh, gradients)
            dn, gradients[f"layers.{index}.norm.weight"] = self.norms[index].backward(dn)
            dh = dh + dn
        if self.case.inputs:
            gradients["input.weight"], gradients["input.bias"] = self.x.T @ dh, dh.sum(0)
        else:
            if not tied:
                gradients["embedding.weight"] = np.zeros_like(self.p["embedding.weight"])
            np.add.at(gradients["embedding.weight"], self.x, dh)
        return gradients

    def update(self, gradients, rate=1e-5):
        self.steps += 1
        first, second = 1 - 0.9**self.steps, 1 - 0.999**self.steps
        for name, gradient in gradients.items():
            if self.moments[name] is None:
                self.moments[name] = np.zeros_like(gradient), np.zeros_like(gradient)
            m, v = self.moments[name]
            m *= F(0.9)
            m += F(0.1) * gradient
            gradient *= gradient
            v *= F(0.999)
            v += F(0.001) * gradient
            q = np.sqrt(v)
            q *= F(1 / math.sqrt(second))
            q += F(1e-8)
            np.divide(m, q, out=q)
            q *= F(rate / first)
            if not name.endswith((".bias", "norm.weight")):
                self.p[name] *= F(1 - rate * 0.01)
            self.p[name] -= q


def main(folder, mode):
    """Load the case and serve."""
    case = Case(folder)
    network, x, targets = Network(case), case.x(), case.targets()

    def train():
        gradient = network.output_gradient(network.forward(x, keep=True), targets)
        network.update(network.backward(gradient, mode == "train_dx"))

    def output(rows):
        return network.forward(rows), [layer.mask for layer in network.layers]

    step = (lambda: network.forward(x)) if mode == "infer" else train
    serve(case, step, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
