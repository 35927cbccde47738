"""Run a notebook in place, so that it is stored with its outputs.

``python tools/run_notebook.py ../../examples/python/quickstart.ipynb``; needs the package with its
extras, nbclient and ipykernel. Cell numbers and nothing else of the run are kept.
"""

import sys
import tempfile

import nbformat
from nbclient import NotebookClient


def main(path: str) -> None:
    """Run the notebook at `path` in an empty folder and write it back."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources=resources,
            record_timing=False,
            coalesce_streams=True,
        )
        client.execute()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1])
