"""Writes the golden cases of Tests/DynaMoETests/Golden: python3 Tests/Support/golden.py

Needs NumPy. Inputs are drawn in float32 and computed with in float64.
"""

import json
import pathlib
import textwrap

import numpy as np

from golden_network import Network

FOLDER = pathlib.Path(__file__).parent.parent / "DynaMoETests" / "Golden"


def shapes(config, routers):
    """Names and shapes of parameters and buffers."""
    d, bias = config["width"], config.get("bias", True)
    parameters, buffers = {}, {}

    def linear(name, *shape):
        parameters[name + ".weight"] = shape
        if bias:
            parameters[name + ".bias"] = shape[:-1]

    def norm(name):
        kind = config.get("norm", "layer")
        if kind != "none":
            parameters[name + ".weight"] = (d,)
        if kind == "layer":
            parameters[name + ".bias"] = (d,)

    if "inputs" in config:
        linear("input", d, config["inputs"])
    else:
        parameters["embedding.weight"] = (config["vocabulary"], d)
    for l, n in enumerate(config["experts"]):
        kind, prefix = routers[l]["kind"], f"layers.{l}."
        norm(prefix + "norm")
        parameters[prefix + "router.weight"] = (n, d)
        if kind == "top_any":
            parameters[prefix + "router.gates"] = (n,)
        for group, size in (
            ("experts", n),
            ("shared", config.get("shared_experts", 0)),
        ):
            if size:
                for name in (
                    ["up", "gate"] if config["activation"] == "swiglu" else ["up"]
                ):
                    linear(f"{prefix}{group}.{name}", size, config["hidden"], d)
                linear(f"{prefix}{group}.down", size, d, config["hidden"])
        if kind == "threshold":
            buffers[prefix + "router.threshold"] = (1,)
        if kind == "expert_threshold":
            buffers[prefix + "router.expert_thresholds"] = (n,)
        if "threshold" in kind or (kind == "relu" and "target_active" in routers[l]):
            buffers[prefix + "router.control"] = (4,)
    norm("norm")
    if not config.get("tied_embedding"):
        parameters["head.weight"] = (config.get("outputs", config.get("vocabulary")), d)
    if bias:
        parameters["head.bias"] = (config.get("outputs", config.get("vocabulary")),)
    return parameters, buffers


def draw(config, seed, rows, stored=None, control=None):
    random = np.random.default_rng(seed)
    routers = config["router"]
    if isinstance(routers, dict):
        routers = [routers] * len(config["experts"])
    parameter_shapes, buffer_shapes = shapes(config, routers)

    def single(a):
        return np.asarray(a, np.float32).astype(float)

    def parameter(name, shape):
        if name.endswith("norm.weight"):
            return single(1 + 0.3 * random.normal(size=shape))
        scale = 1.3 if "router" in name or "embedding" in name else 0.6
        return single(scale * random.normal(size=shape))

    parameters = {
        name: parameter(name, shape) for name, shape in parameter_shapes.items()
    }
    buffers = {name: np.zeros(shape) for name, shape in buffer_shapes.items()}
    for name in buffers:
        if stored is not None and "threshold" in name:
            buffers[name][:] = single(stored)
            buffers[name.rsplit(".", 1)[0] + ".control"][2] = 1
        layer = int(name.split(".")[1])
        if control is not None and routers[layer]["kind"] == "relu":
            buffers[name][0] = single(control)
    batch = {}
    if "inputs" in config:
        batch["x"] = single(random.normal(size=(rows, config["inputs"])))
    else:
        batch["ids"] = random.integers(0, config["vocabulary"], rows)
    outputs = config.get("outputs", config.get("vocabulary"))
    if config["task"] == "regression":
        batch["targets"] = single(random.normal(size=(rows, outputs)))
    else:
        batch["targets"] = random.integers(0, outputs, rows)
        batch["targets"][1] = -1
    return Network(config, parameters, buffers), batch


def replay(network, batch):
    tensors = {
        name: value.copy()
        for name, value in (network.parameters | network.buffers | batch).items()
    }
    losses = []
    for step in range(3):
        logits, routing, auxiliary, fresh = network.forward(batch, True)
        task, total = network.losses(logits, auxiliary, batch["targets"])
        losses.append(total)
        gradients = network.gradients(batch)
        network.buffers.update(fresh)
        if step == 0:
            tensors |= {
                "expected.logits": logits,
                "expected.loss": np.array([total]),
                "expected.task_loss": np.array([task]),
                "expected.aux": np.array(auxiliary),
            }
            for l, (active, w) in enumerate(routing):
                tensors[f"expected.layers.{l}.active"] = active
                tensors[f"expected.layers.{l}.weights"] = w
            tensors |= {f"expected.grad.{name}": g for name, g in gradients.items()}
            tensors |= {
                f"expected.forward.{n}": b.copy() for n, b in network.buffers.items()
            }
            logits, routing, _, _ = network.forward(batch, False)
            tensors["expected.eval.logits"] = logits
            for l, (active, _) in enumerate(routing):
                tensors[f"expected.eval.layers.{l}.active"] = active
        network.step(gradients, routing_of(network, batch))
    tensors["expected.step_losses"] = np.array(losses)
    tensors |= {
        f"expected.step3.{name}": value
        for name, value in (network.parameters | network.buffers).items()
    }
    return tensors


def routing_of(network, batch):
    return network.forward(batch, True)[1]


CASES = {
    "threshold": (
        dict(
            task="classification",
            inputs=3,
            outputs=3,
            width=4,
            experts=[4, 3],
            hidden=3,
            activation="gelu_tanh",
            router=dict(kind="threshold", target_active=1.6, momentum=0.7),
            losses=dict(balance=0.2, z=0.05),
            optimizer=dict(kind="adamw", lr=0.01, weight_decay=0.1),
        ),
        dict(seed=1, rows=6, stored=0.3),
    ),
    "percentile": (
        dict(
            task="regression",
            inputs=3,
            outputs=2,
            width=4,
            experts=[4, 3],
            hidden=3,
            activation="swiglu",
            norm="rms",
            shared_experts=1,
            bias=False,
            router=dict(kind="percentile", percentile=0.5, temperature=0.5),
            optimizer=dict(
                kind="sgd",
                lr=0.05,
                momentum=0.9,
                nesterov=True,
                weight_decay=0.02,
                clip=0.5,
            ),
        ),
        dict(seed=2, rows=5),
    ),
    "top_k": (
        dict(
            task="language_model",
            vocabulary=6,
            width=4,
            experts=[3, 4],
            hidden=3,
            activation="relu",
            tied_embedding=True,
            router=dict(kind="top_k", k=2),
            losses=dict(entropy=0.1),
            optimizer=dict(
                kind="adamw",
                lr=0.02,
                betas=[0.8, 0.95],
                decay_all=True,
                warmup=1,
                total=4,
                floor=0.1,
            ),
        ),
        dict(seed=1, rows=7),
    ),
    "mixed": (
        dict(
            task="classification",
            inputs=3,
            outputs=3,
            width=4,
            experts=[4, 3, 4, 3],
            hidden=3,
            activation="silu",
            norm="none",
            router=[
                dict(kind="expert_threshold", target_active=1.5, gate="normalized"),
                dict(kind="top_p", p=0.6),
                dict(kind="relu", target_active=1.5),
                dict(kind="top_any", scale=1.5, min_active=1, max_active=2),
            ],
            optimizer=dict(kind="sgd", lr=0.05),
        ),
        dict(seed=2, rows=6, control=0.05),
    ),
}


def swift(name, config, tensors):
    document = {"floats": {}, "integers": {}, "flags": {}, "shapes": {}}
    for key, value in tensors.items():
        value = np.asarray(value)
        document["shapes"][key] = list(value.shape)
        kind = {"b": "flags", "i": "integers"}.get(value.dtype.kind, "floats")
        flat = value.real.ravel().tolist()
        if kind == "floats":
            # Float32 is what the engine reads; nine digits tell its numbers apart.
            flat = [float(f"{np.float32(number):.9g}") for number in flat]
        document[kind][key] = flat
    text = "\n".join(
        textwrap.wrap(
            json.dumps(document), 96, break_long_words=False, break_on_hyphens=False
        )
    )
    words = name.split("_")
    label = words[0] + "".join(word.capitalize() for word in words[1:])
    configuration = "\n".join(
        "    " + line for line in textwrap.wrap(json.dumps(config), 90)
    )
    body = "\n".join("    " + line for line in text.splitlines())
    return (
        "// Written by Tests/Support/golden.py; do not edit.\n\n"
        "extension GoldenCase {\n"
        f'  static let {label}Configuration = """\n{configuration}\n    """\n\n'
        f'  static let {label}Tensors = """\n{body}\n    """\n}}\n'
    )


def main():
    for name, (config, arguments) in CASES.items():
        if "sparsity" in json.dumps(config):
            raise ValueError("the coefficient of sparsity is given as control")
        network, batch = draw(config, **arguments)
        tensors = replay(network, batch)
        title = "".join(word.capitalize() for word in name.split("_"))
        (FOLDER / f"Golden{title}.swift").write_text(swift(name, config, tensors))


if __name__ == "__main__":
    main()
