"""The notebooks: stored with outputs, free of traces of a machine, and their cells run."""

from __future__ import annotations

import json
import re
import warnings

import dynamoe as dm
import numpy as np
import pytest

NOTEBOOKS = ("quickstart", "routing", "schedules", "language_model", "k_knob", "single_layer")


@pytest.fixture
def examples(checkout):
    """Return the folder of the examples."""
    return checkout / "examples" / "python"


def stored(examples, name):
    """Return a notebook as it is stored, and its code cells."""
    notebook = json.loads((examples / f"{name}.ipynb").read_text(encoding="utf-8"))
    return notebook, [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(output):
    """Return everything that an output says in words."""
    parts = [output.get("text", ""), *output.get("data", {}).values()]
    return "".join("".join(part) for part in parts)


def test_every_notebook_is_tested_and_listed(examples):
    found = {path.stem for path in examples.glob("*.ipynb")}
    assert found == set(NOTEBOOKS)
    listed = (examples / "README.md").read_text(encoding="utf-8")
    files = [*examples.glob("*.ipynb"), *examples.glob("*.py")]
    assert files and all(f"]({path.name})" in listed for path in files)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_stored_with_its_outputs(examples, name):
    assert (examples / f"{name}.ipynb").stat().st_size < 1_000_000
    _, code = stored(examples, name)
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert "image/png" in {kind for output in outputs for kind in output.get("data", {})}
    for output in outputs:
        assert output["output_type"] != "error" and output.get("name") != "stderr"
        words = text_of({**output, "data": without_image(output)})
        assert not re.search(r"/(home|root|tmp|usr|opt|Users)/|site-packages|Warning", words)


def without_image(output):
    """Return the data of an output but the image, which is base64 and may spell anything."""
    return {kind: part for kind, part in output.get("data", {}).items() if kind != "image/png"}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_links_lead_somewhere(examples, name):
    notebook, _ = stored(examples, name)
    prose = "".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "markdown")
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        assert re.match(r"https?://", target) or (examples / target).is_file(), target


def run_cells(examples, name, folder, monkeypatch):
    """Run a notebook in `folder` with small settings; return its variables and its figures."""
    plt = pytest.importorskip("matplotlib.pyplot")
    if name == "language_model":
        pytest.importorskip("tokenizers")
    figures = []

    def show():
        figures.extend(plt.figure(number) for number in plt.get_fignums())
        plt.close("all")

    monkeypatch.setenv("DYNAMOE_SMALL", "1")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(plt, "show", show)
    _, code = stored(examples, name)
    names: dict = {}
    plt.switch_backend("Agg")
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for number, cell in enumerate(code, start=1):
            exec(compile("".join(cell["source"]), f"{name}, cell {number}", "exec"), names)
            show()
    return names, figures


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_cells_run(examples, tmp_path, monkeypatch, name):
    """The cells hold the assertions of what the notebook claims; here is the headline again."""
    monkeypatch.delenv("DYNAMOE_TEXT", raising=False)
    names, figures = run_cells(examples, name, tmp_path, monkeypatch)
    _, code = stored(examples, name)
    shown = sum("image/png" in o.get("data", {}) for cell in code for o in cell["outputs"])
    assert len(figures) == shown and all(figure.axes for figure in figures)
    HEADLINES[name](names)


def quickstart_headline(names):
    assert names["accuracy"] >= 0.96 and names["history"].epochs <= 12
    assert isinstance(names["again"], dm.Model)


def routing_headline(names):
    assert names["fixed"] == {"percentile", "top_k", "dense"}
    kinds = names["statistics"]
    assert len(kinds) == 8 and kinds["percentile"][1].k_histogram[2] == len(names["x_test"])


def schedules_headline(names):
    assert {sum(counts) for counts in names["counts"].values()} == {30}
    assert len({model.parameter_count for model in names["models"].values()}) == 1
    assert names["accuracy"].shape == (7, 2)


def language_headline(names):
    assert names["perplexity"] < names["unigram_perplexity"] / 2
    assert names["bigram_perplexity"] < names["unigram_perplexity"]


def knob_headline(names):
    assert np.all(np.diff(names["dial"][:, 2]) > 0)
    assert names["saved"] > 0.35 and names["lost"] < 0.06


def layer_headline(names):
    assert names["error"] < 0.8 * names["one_error"] < 0.3 * names["values_test"].std()


HEADLINES = dict(
    zip(
        NOTEBOOKS,
        (
            quickstart_headline,
            routing_headline,
            schedules_headline,
            language_headline,
            knob_headline,
            layer_headline,
        ),
        strict=True,
    )
)


@pytest.mark.parametrize("form", ["jsonl", "txt"])
def test_language_notebook_reads_another_text(examples, tmp_path, monkeypatch, form):
    generator = np.random.default_rng(0)
    words = ["the", "cat", "sees", "a", "dog", "and", "then", "runs", "from", "it", "home"]
    lines = [" ".join(generator.choice(words, 300)) + "." for _ in range(120)]
    if form == "jsonl":
        lines = [json.dumps({"text": line}) for line in lines]
    (tmp_path / f"own.{form}").write_text("\n".join(lines))
    monkeypatch.setenv("DYNAMOE_TEXT", str(tmp_path / f"own.{form}"))
    names = text_part(examples, tmp_path, monkeypatch)
    assert len(names["documents"]) == {"jsonl": 120, "txt": 3}[form]
    seen = "".join(names["tokenizer"].decode(document.tolist()) for document in names["documents"])
    assert seen.count("cat") == sum(line.count("cat") for line in lines)


def text_part(examples, folder, monkeypatch):
    """Run the language model's notebook up to its windows; return its variables."""
    pytest.importorskip("tokenizers")
    matplotlib = pytest.importorskip("matplotlib")
    monkeypatch.chdir(folder)
    _, code = stored(examples, "language_model")
    names: dict = {}
    with matplotlib.rc_context():
        for cell in code[:2]:
            exec(compile("".join(cell["source"]), "language_model", "exec"), names)
    return names
