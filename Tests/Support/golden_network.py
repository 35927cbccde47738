"""A network of the mathematics of DynaMoE (arXiv 2603.01697) in NumPy float64, for golden cases.

Written on its own, it shares nothing with the engine. Gradients are taken by the complex step
(Squire and Trapp 1998): df/dx = Im f(x + ih) / h with h = 1e-30, exact to the last digit because
nothing is subtracted. The real parts are those of the unperturbed network, so selections and
thresholds, which are constants of the gradient, are decided by them alone.
"""

import numpy as np

STEP = 1e-30


def softmax(z):
    e = np.exp(z - z.real.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_sum_exp(z):
    top = z.real.max(-1, keepdims=True)
    return top[..., 0] + np.log(np.exp(z - top).sum(-1))


def positive(x):
    Network.keep_clear(np.abs(x.real))
    return np.where(x.real > 0, x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "relu": positive,
    "silu": lambda a: a * sigmoid(a),
    "swiglu": lambda a: a * sigmoid(a),
    "gelu_tanh": lambda a: (
        0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))
    ),
}


def quantile(values, q):
    return np.quantile(values, q, method="linear")


class Network:
    def __init__(self, config, parameters, buffers):
        self.config, self.parameters, self.buffers = config, parameters, buffers
        routers = config["router"]
        if isinstance(routers, dict):
            routers = [routers] * len(config["experts"])
        self.routers = routers
        self.steps = 0
        self.state = {}

    @staticmethod
    def keep_clear(distances):
        """A case in which float32 could decide otherwise would test nothing."""
        if np.min(distances) < 1e-4:
            raise ValueError(
                f"a decision is {np.min(distances)} from turning out otherwise"
            )

    def norm(self, h, name):
        kind = self.config.get("norm", "layer")
        if kind == "none":
            return h
        if kind == "layer":
            h = h - h.mean(-1, keepdims=True)
            h = h / np.sqrt((h * h).mean(-1, keepdims=True) + 1e-5)
            return (
                h * self.parameters[name + ".weight"] + self.parameters[name + ".bias"]
            )
        h = h / np.sqrt((h * h).mean(-1, keepdims=True) + 1e-6)
        return h * self.parameters[name + ".weight"]

    def linear(self, x, weight, bias):
        y = x @ weight.T
        return y if bias is None else y + bias

    def expert(self, x, prefix, index):
        p = self.parameters
        act = ACTIVATIONS[self.config["activation"]]

        def project(name, value):
            bias = p.get(f"{prefix}.{name}.bias")
            bias = None if bias is None else bias[index]
            return self.linear(value, p[f"{prefix}.{name}.weight"][index], bias)

        if self.config["activation"] == "swiglu":
            return project("down", act(project("gate", x)) * project("up", x))
        return project("down", act(project("up", x)))

    def route(self, layer, x, training, fresh):
        """Scores for the losses, logits, active set and weights; `fresh` receives new buffers."""
        router, prefix = self.routers[layer], f"layers.{layer}.router."
        kind, weight = router["kind"], self.parameters[prefix + "weight"]
        count = weight.shape[0]
        if kind == "top_any":

            def length(a):
                return np.sqrt((a * a).sum(-1))

            scale = router.get("scale", 1)
            z = scale * (x @ weight.T) / (length(x)[:, None] * length(weight)[None, :])
            s = sigmoid(z)
            limit = sigmoid(scale * self.parameters[prefix + "gates"])
            scores = s / s.sum(-1, keepdims=True)
        else:
            z = x @ weight.T
            s = scores = softmax(z / router.get("temperature", 1))
        v = z if kind == "relu" else s
        clean = v.real
        if kind in ("threshold", "expert_threshold"):
            name = prefix + (
                "threshold" if kind == "threshold" else "expert_thresholds"
            )
            q = 1 - min(router["target_active"], count) / count
            columns = [clean.ravel()] if kind == "threshold" else list(clean.T)
            theta = np.array([quantile(column, q) for column in columns])
            if training:
                control = self.buffers[prefix + "control"]
                beta = router.get("momentum", 0.9) if control[2] > 0 else 0.0
                fresh[name] = beta * self.buffers[name] + (1 - beta) * theta
                fresh[prefix + "control"] = control + np.array([0, 0, 1, 0])
            else:
                theta = self.buffers[name]
        elif kind == "percentile":
            theta = np.array([[quantile(row, router["percentile"])] for row in clean])
        elif kind == "top_any":
            theta = limit.real
        elif kind == "relu":
            theta = 0.0
        else:
            theta = -np.inf
        chosen = clean > theta
        distance = np.abs(clean - theta)
        self.keep_clear(distance[distance > 0])
        order = np.argsort(-clean, axis=1, kind="stable")
        active = np.zeros(clean.shape, bool)
        for t, ranked in enumerate(order):
            members = [e for e in ranked if chosen[t, e]]
            if kind == "top_k":
                members = list(ranked[: router["k"]])
            if kind == "top_p":
                sums = np.cumsum(clean[t][ranked])
                self.keep_clear(np.abs(sums[:-1] - router["p"]))
                members = list(ranked[: int((sums < router["p"]).sum()) + 1])
            size = min(
                max(len(members), min(router.get("min_active", 1), count)),
                router.get("max_active", count),
            )
            if (size != len(members) or kind in ("top_k", "top_p")) and count > 1:
                self.keep_clear(-np.diff(clean[t][ranked]))
            members = (members + [e for e in ranked if e not in members])[:size]
            active[t, members] = True
        gate = router.get(
            "gate",
            {"percentile": "softmax", "top_k": "normalized", "dense": "normalized"}.get(
                kind, "raw"
            ),
        )
        if kind == "top_any":
            excess = s - limit
            w = (1 + excess - excess.real) / active.sum(1, keepdims=True)
        elif kind == "relu":
            w = positive(z)
        elif gate == "softmax":
            w = np.exp(s) / np.where(active, np.exp(s), 0).sum(1, keepdims=True)
        elif gate == "normalized":
            w = s / np.where(active, s, 0).sum(1, keepdims=True)
        else:
            w = s
        return z, scores, active, np.where(active, w, 0)

    def forward(self, batch, training):
        c, p = self.config, self.parameters
        fresh, routing, auxiliary = {}, [], []
        if "ids" in batch:
            h = p["embedding.weight"][batch["ids"]]
        else:
            h = self.linear(batch["x"], p["input.weight"], p.get("input.bias"))
        for l, count in enumerate(c["experts"]):
            x = self.norm(h, f"layers.{l}.norm")
            z, scores, active, w = self.route(l, x, training, fresh)
            y = 0
            for e in range(count):
                y = y + w[:, e : e + 1] * self.expert(x, f"layers.{l}.experts", e)
            for j in range(c.get("shared_experts", 0)):
                y = y + self.expert(x, f"layers.{l}.shared", j)
            h = h + y if c.get("residual", True) else y
            n = active.sum(0)
            sparsity = 0.0
            if self.routers[l]["kind"] == "relu" and "target_active" in self.routers[l]:
                factor = count / (self.routers[l]["target_active"] * len(active) ** 2)
                sparsity = factor * (n * w.sum(0)).sum()
            auxiliary.append(
                [
                    count * (n / max(n.sum(), 1) * scores.mean(0)).sum(),
                    (log_sum_exp(z) ** 2).mean(),
                    -(scores * np.log(scores)).sum(-1).mean(),
                    sparsity,
                ]
            )
            routing.append((active, w))
        head = p["embedding.weight"] if c.get("tied_embedding") else p["head.weight"]
        logits = self.linear(self.norm(h, "norm"), head, p.get("head.bias"))
        return logits, routing, auxiliary, fresh

    def losses(self, logits, auxiliary, targets):
        if self.config["task"] == "regression":
            task = ((logits - targets) ** 2).mean()
        else:
            rows = np.flatnonzero(targets >= 0)
            task = (log_sum_exp(logits[rows]) - logits[rows, targets[rows]]).mean()
        given = self.config.get("losses", {})
        total = task
        for l, (balance, z, entropy, sparsity) in enumerate(auxiliary):
            strength = self.buffers.get(f"layers.{l}.router.control", [0])[0]
            total = (
                total
                + given.get("balance", 0) * balance
                + given.get("z", 0) * z
                + given.get("entropy", 0) * entropy
                + strength * sparsity
            )
        return task, total

    def gradients(self, batch):
        def derivative(array):
            result = np.zeros(array.shape)
            for index in np.ndindex(array.shape):
                array[index] += 1j * STEP
                logits, _, auxiliary, _ = self.forward(batch, True)
                result[index] = (
                    self.losses(logits, auxiliary, batch["targets"])[1].imag / STEP
                )
                array[index] = array[index].real
            return result

        found = {}
        for name in self.parameters:
            real = self.parameters[name]
            self.parameters[name] = real.astype(complex)
            found[name] = derivative(self.parameters[name])
            self.parameters[name] = real
        if "x" in batch:
            real = batch["x"]
            batch["x"] = real.astype(complex)
            found["x"] = derivative(batch["x"])
            batch["x"] = real
        return found

    def decays(self, name):
        return self.config["optimizer"].get("decay_all", False) or (
            name.endswith(".weight") and "norm." not in name
        )

    def step(self, gradients, routing):
        o = self.config["optimizer"]
        self.steps += 1
        i, lr, warmup, total = (
            self.steps,
            o.get("lr", 1e-3),
            o.get("warmup", 0),
            o.get("total"),
        )
        if i <= warmup:
            lr = lr * i / warmup
        elif total is not None:
            floor = o.get("floor", 0)
            share = min(1, (i - warmup) / (total - warmup))
            lr = lr * (floor + (1 - floor) * (1 + np.cos(np.pi * share)) / 2)
        names = list(self.parameters)
        norm = np.sqrt(sum((gradients[name] ** 2).sum() for name in names))
        factor = min(1, o["clip"] / (norm + 1e-6)) if o.get("clip") else 1
        adam = o.get("kind", "adamw") == "adamw"
        for name in names:
            w, g = self.parameters[name], gradients[name] * factor
            decay = (
                o.get("weight_decay", 0.01 if adam else 0) if self.decays(name) else 0
            )
            if adam:
                b1, b2 = o.get("betas", [0.9, 0.999])
                m, v = self.state.get(name, (0, 0))
                m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
                self.state[name] = m, v
                w = w - lr * decay * w
                w = w - lr / (1 - b1**i) * m / (
                    np.sqrt(v / (1 - b2**i)) + o.get("eps", 1e-8)
                )
            else:
                g = g + decay * w
                if o.get("momentum"):
                    buffer = g if i == 1 else o["momentum"] * self.state[name] + g
                    self.state[name] = buffer
                    g = g + o["momentum"] * buffer if o.get("nesterov") else buffer
                w = w - lr * g
            self.parameters[name] = w
        for l, (active, _) in enumerate(routing):
            router, name = self.routers[l], f"layers.{l}.router.control"
            if router["kind"] == "relu" and "target_active" in router:
                control = self.buffers[name].copy()
                over = active.sum() > router["target_active"] * len(active)
                control[0] = control[0] * 1.2 if over else control[0] / 1.2
                control[2] += 1
                self.buffers[name] = control
