"""Routing reports: well-formed, self-contained, escaped, true to the evaluation, and refusals."""

from __future__ import annotations

from html.parser import HTMLParser

import dynamoe as dm
import numpy as np
import pytest

from support.networks import state

VOID = {"meta", "br", "img", "link", "input", "hr"}
HOSTILE = '<script>alert("1")</script> & \' </title></style></svg> \x00\x1b\u202e'


class Checker(HTMLParser):
    """Collects text, figures and table cells; refuses tags that do not balance."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.tags, self.attributes = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)


def classifier(outputs=3, experts=(4, 3), **more):
    config = {"task": "classification", "inputs": 5, "outputs": outputs, "width": 8, **more}
    router = {"kind": "threshold", "target_active": 1.5}
    return dm.Model({**config, "experts": list(experts), "router": router}, seed=1)


def written(tmp_path, model, x, y, **more):
    path = tmp_path / "report.html"
    dm.report(model, x, y, path, **more)
    return path.read_text(encoding="utf-8")


def cases(rng):
    x = rng.normal(size=(200, 5)).astype(np.float32)
    ids = rng.integers(0, 60, 200)
    yield "two", classifier(2, [2]), x, rng.integers(0, 2, 200)
    yield "many", classifier(26, [64] * 12, hidden=4), x, rng.integers(-1, 26, 200)
    yield "wide", classifier(3, [600]), x, rng.integers(0, 3, 200)
    yield "one row", classifier(3, [1]), x[:1], [2]
    yield "ignored", classifier(), x, np.full(200, -1)
    router = {"kind": "relu"}
    values = {"task": "regression", "inputs": 5, "width": 8, "experts": [4], "router": router}
    yield "values", dm.Model({**values, "outputs": 1}), x, x[:, :1]
    yield "constant", dm.Model({**values, "outputs": 1}), x, np.ones(200)
    yield "pairs of values", dm.Model({**values, "outputs": 2}), x, x[:, :2]
    tokens = {"vocabulary": 60, "width": 8, "experts": [4], "router": {"kind": "top_k", "k": 2}}
    yield "language", dm.Model({**tokens, "task": "language_model"}), ids[:-1], ids[1:]
    tokens = {**tokens, "task": "classification", "outputs": 2}
    yield "token classes", dm.Model(tokens), ids.reshape(20, 10), ids.reshape(20, 10) % 2


def test_every_kind_of_model_gives_a_document_of_its_own(rng, tmp_path):
    for name, model, x, y in cases(rng):
        page = written(tmp_path, model, x, y)
        document = Checker(page)
        assert page.startswith("<!DOCTYPE html>"), name
        assert document.tags.count("svg") == document.tags.count("figure") >= 5, name
        assert not {"script", "link", "img", "iframe", "object"} & set(document.tags), name
        for tag, attribute, value in document.attributes:
            assert attribute not in ("src", "href", "srcset", "style"), (name, tag, attribute)
            assert not attribute.startswith("on"), (name, tag, attribute)
            assert "://" not in (value or "") or attribute == "xmlns", (name, tag, value)
        assert "nan" not in page.lower().replace("nano", ""), name
        assert "inf" not in page.lower().replace("information", ""), name
        assert "@import" not in page and "url(" not in page, name


def test_names_are_text_and_never_markup(rng, tmp_path):
    x, y = rng.normal(size=(50, 5)), rng.integers(0, 3, 50)
    names = [HOSTILE, "é 漢字 🙂", ""]
    page = written(tmp_path, classifier(), x, y, class_names=names, title=HOSTILE)
    document = Checker(page)
    assert "script" not in document.tags
    text = "".join(document.texts)
    assert text.count('<script>alert("1")</script> & \' </title></style></svg>') >= 2
    assert "é 漢字 🙂" in text
    assert not {"\x00", "\x1b", "\u202e"} & set(page)


def test_report_says_what_the_evaluation_says(rng, tmp_path):
    model = classifier()
    x, y = rng.normal(size=(300, 5)), rng.integers(0, 3, 300)
    model.train_batch(x, y)
    y[::2] = model.predict(x)[::2]
    model.routing_stats(reset=True)
    result = model.evaluate(x, y)
    layers = model.routing_stats(reset=True)
    texts = Checker(written(tmp_path, model, x, y)).texts
    assert f"{100 * result['accuracy']:.1f}\xa0%" in texts
    assert f"{result['loss']:.4f}" in texts
    for layer in layers:
        assert f"{layer.mean_k:.3f}" in texts
        assert any(text.startswith(f"{layer.entropy:.3f} (") for text in texts)
        assert f"{layer.load_imbalance:.2f}" in texts
    for kind in range(3):
        rows = y == kind
        share = model.evaluate(x[rows], y[rows])
        assert str(rows.sum()) in texts
        assert f"{100 * share['accuracy']:.1f}\xa0%" in texts
        for mean in share["mean_k"]:
            assert f"{mean:.2f}" in texts


def test_only_the_statistics_change(rng, tmp_path):
    model = classifier()
    x, y = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    model.forward(x, training=True)
    model.routing_stats(reset=True)
    model.evaluate(x, y)
    evaluated = state(model)
    model.routing_stats(reset=True)
    first = written(tmp_path, model, x, y)
    assert state(model) == evaluated
    model.backward(y)
    assert written(tmp_path, model, x, y) == first


def test_what_is_refused_changes_nothing(rng, tmp_path):
    model = classifier()
    x, y = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    path = tmp_path / "report.html"
    path.write_text("old")
    rows = model.routing_stats()[0].rows
    regression = dm.Model({**model.config, "task": "regression"})
    refused = [
        ("rows is 0", model, x[:0], y[:0], path, {}),
        ("class_names", model, x, y, path, {"class_names": ["a", "b"]}),
        ("class_names", model, x, y, path, {"class_names": "abc"}),
        ("class_names", model, x, y, path, {"class_names": ["a", "b", 3]}),
        ("title", model, x, y, path, {"title": 7}),
        ("regression", regression, x, x[:, :3], path, {"class_names": list("abc")}),
        ("targets", model, x, y + 1, path, {}),
        ("path", model, x, y, "", {}),
    ]
    for words, who, rows_in, targets, where, more in refused:
        with pytest.raises(ValueError, match=words):
            dm.report(who, rows_in, targets, where, **more)
    with pytest.raises(OSError, match="absent"):
        dm.report(model, x, y, tmp_path / "absent" / "report.html")
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert model.routing_stats()[0].rows == rows
