"""Write src/dynamoe/datasets/optdigits.npz from the copy that scikit-learn ships.

Run once, in an environment with scikit-learn: ``python tools/make_digits.py``. The result is the
UCI optdigits test set: 1,797 images of 8 x 8 pixels with values 0 to 16, in the original order.
The archive is written with fixed time stamps, so a second run gives the same bytes.
"""

import io
import pathlib
import zipfile

import numpy as np
from sklearn.datasets import load_digits

TARGET = pathlib.Path(__file__).resolve().parent.parent / "src/dynamoe/datasets/optdigits.npz"


def main() -> None:
    """Write the archive."""
    digits = load_digits()
    arrays = {
        "pixels": digits.data.astype(np.uint8),
        "labels": digits.target.astype(np.uint8),
    }
    assert np.array_equal(arrays["pixels"], digits.data)
    assert arrays["pixels"].shape == (1797, 64) and arrays["pixels"].max() == 16
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1998, 7, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
