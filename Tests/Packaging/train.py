"""Train with the installed package alone, while Swift and OpenBLAS are out of reach."""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dynamoe as dm


def main():
    """Check where the package comes from, what is hidden, and what a trained model reaches."""
    assert Path(dm.__file__).is_relative_to(sys.prefix), f"{dm.__file__} is not in {sys.prefix}"
    assert shutil.which("swift") is None, "swift is in PATH"
    try:
        ctypes.CDLL("libopenblas.so.0")
    except OSError:
        pass
    else:
        raise AssertionError("libopenblas.so.0 can be loaded")
    refused = subprocess.run(
        [sys.executable, "-c", CREATE],
        env={**os.environ, "DYNAMOE_KERNELS": "openblas"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1 and "libopenblas.so.0" in refused.stderr, refused.stderr

    x, y = dm.data.digits()
    x_train, y_train, x_test, y_test = dm.data.stratified_split(x, y, test_share=0.2, seed=0)
    model = dm.Model(CONFIGURATION, seed=0)
    model.fit(x_train, y_train, epochs=10, progress=False)
    accuracy = model.evaluate(x_test, y_test)["accuracy"]
    assert accuracy > 0.95, f"the accuracy is {accuracy}"

    mapped = Path("/proc/self/maps").read_text()
    assert "libdynamoe.so" in mapped and "libswift" not in mapped
    kernels = dm.build_info()["kernels"]
    print(f"1 passed: accuracy {accuracy:.3f} with the kernels {kernels} of {dm.__file__}")


CONFIGURATION = {
    "task": "classification",
    "inputs": 64,
    "outputs": 10,
    "width": 64,
    "experts": {"schedule": "descending", "layers": 3, "minimum": 2, "maximum": 8},
    "router": {"kind": "threshold", "target_active": 2},
}
CREATE = f"import dynamoe; dynamoe.Model({CONFIGURATION!r}, seed=0)"

if __name__ == "__main__":
    main()
