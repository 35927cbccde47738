"""Train a dynamic mixture of experts on handwritten digits and look at how it routes.

Run with ``python quickstart.py``; it needs the package `dynamoe` and nothing else.
"""

import dynamoe as dm

x, y = dm.data.digits()
x_train, y_train, x_test, y_test = dm.data.stratified_split(x, y, test_share=0.2, seed=0)
x_train, y_train = dm.data.with_shifts(x_train, y_train, image_shape=(8, 8))

model = dm.Model(
    {
        "task": "classification",
        "inputs": 64,
        "outputs": 10,
        "width": 64,
        "hidden": 64,
        "experts": {"schedule": "descending", "layers": 4, "minimum": 3, "maximum": 8},
        "router": {"kind": "threshold", "target_active": 2},
        "losses": {"balance": 0.01},
        "optimizer": {"lr": 0.003, "weight_decay": 1.0, "warmup": 60, "total": 1356},
    },
    seed=0,
)
print(model)

model.fit(x_train, y_train, epochs=12, batch_size=64)

result = model.evaluate(x_test, y_test)
print(f"test accuracy {100 * result['accuracy']:.1f} %")

trace = model.routing_trace(x_test[:5])
for layer, routing in enumerate(trace, start=1):
    print(f"layer {layer}: experts used by the first five images: {routing.k.tolist()}")

model.save("digits.safetensors")
again = dm.Model.load("digits.safetensors")
assert (again.predict(x_test) == model.predict(x_test)).all()
print("saved and loaded: digits.safetensors")
