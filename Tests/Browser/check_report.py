"""Open routing reports in a browser: python check_report.py FOLDER.

Reports of several models are made in FOLDER and loaded from their files without network, on a wide
and a narrow screen, light and dark. Nothing may reach out or complain, every figure must have
content inside its frame that can be told from the ground, and the page must not be wider than the
screen. The screenshots stay in FOLDER.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dynamoe as dm
import numpy as np

from browser import Browser

HOSTILE = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
SCREENS = ((1280, False), (1280, True), (390, False), (390, True))

# Every figure: its caption, how many things it draws, and what sticks out of it or cannot be seen.
FIGURES = """
[...document.querySelectorAll('figure')].map(figure => {
  const svg = figure.querySelector('svg'), frame = svg.getBoundingClientRect();
  const shapes = [...svg.querySelectorAll('rect, path')];
  const ground = getComputedStyle(document.body).backgroundColor;
  const outside = [...svg.querySelectorAll('rect, path, text, line')].filter(shape => {
    const box = shape.getBoundingClientRect();
    return box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  }).map(shape => shape.outerHTML.slice(0, 200));
  const seen = shapes.filter(shape => {
    const box = shape.getBBox(), style = getComputedStyle(shape);
    return box.width > 0 && box.height > 0
      && (style.fill != ground && style.fill != 'none' || style.stroke != 'none');
  }).length;
  const small = [...svg.querySelectorAll('text')].filter(
    text => parseFloat(getComputedStyle(text).fontSize) < 11).length;
  return {caption: figure.querySelector('figcaption').textContent, seen, outside, small,
          label: svg.getAttribute('aria-label'), width: frame.width, height: frame.height};
})
"""


def cases(folder: Path) -> Iterator[tuple[Path, int]]:
    """Write reports; yield each with the number of figures that it must have."""
    x, y = dm.data.digits()
    letters = (7 * np.arange(len(x)) + y) % 26
    digits: dict[str, Any] = {
        "task": "classification",
        "inputs": 64,
        "outputs": 10,
        "width": 32,
    }
    threshold = {"kind": "threshold", "target_active": 2}

    def write(name: str, config: Any, rows: Any, targets: Any, figures: int, **more: Any) -> Any:
        model = dm.Model(config, seed=0)
        for first in range(0, 1536, 64):
            part = slice(first, first + 64)
            model.train_batch(rows[part], targets[part])
        path = folder / f"{name}.html"
        dm.report(model, rows, targets, path, **more)
        return path, figures

    schedule = {"schedule": "descending", "layers": 3, "minimum": 2, "maximum": 8}
    # Experts and load, mean K of the groups, and of each layer K, groups, pairs and entropy.
    yield write("digits", {**digits, "experts": schedule, "router": threshold}, x, y, 3 + 4 * 3)
    two = {**digits, "outputs": 2, "experts": [2], "router": {"kind": "top_k", "k": 1}}
    names = ["small", "large"]
    yield write("small", two, x, (y > 4).astype(int), 3 + 4, class_names=names)
    many = {
        **digits,
        "outputs": 26,
        "experts": [64] * 12,
        "hidden": 8,
        "router": threshold,
    }
    names = [f"{HOSTILE} {letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    yield write("large", many, x, letters, 3 + 4 * 12, class_names=names, title=HOSTILE)
    regression = {**digits, "task": "regression", "outputs": 1, "experts": [6, 4]}
    regression["router"] = {"kind": "expert_threshold", "target_active": 2}
    yield write("regression", regression, x, y[:, None] * 100.0, 3 + 4 * 2)
    tokens = {
        "task": "language_model",
        "vocabulary": 500,
        "width": 16,
        "experts": [8, 200],
    }
    ids = np.random.default_rng(0).zipf(1.4, 3000) % 500
    # Pairs of 200 experts are not drawn; tokens and targets are two groupings.
    yield write("tokens", {**tokens, "router": threshold}, ids[:-1], ids[1:], 4 + 4 * 2)


def check(browser: Browser, path: Path, figures: int, width: int, dark: bool) -> None:
    """Check one report on one screen and keep its picture."""
    browser.open(path, width, dark)
    browser.screenshot(path.with_name(f"{path.stem}-{width}-{'dark' if dark else 'light'}.png"))
    found = browser.evaluate(FIGURES)
    assert len(found) == figures, f"{len(found)} figures, {figures} expected"
    for figure in found:
        assert figure["seen"] > 0 and figure["label"], f"nothing to see in {figure}"
        assert not figure["outside"], f"outside of {figure['caption']}: {figure['outside'][:3]}"
        assert not figure["small"], f"text below 11 pixels in {figure['caption']}"
    overflow = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert overflow <= 0, f"the page is {overflow} pixels wider than the screen"
    assert browser.evaluate("document.title") != "taken", "a name became markup"
    assert browser.evaluate("document.querySelectorAll('script, img').length") == 0
    requests = [
        event["params"]["request"]["url"]
        for event in browser.events
        if event.get("method") == "Network.requestWillBeSent"
    ]
    assert requests == [path.resolve().as_uri()], f"more was asked for: {requests}"
    complaints = [
        event
        for event in browser.events
        if event.get("method")
        in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    ]
    assert not complaints, f"the browser complains: {complaints}"


def main() -> int:
    """Check every report on every screen."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    passed = 0
    with Browser() as browser:
        for path, figures in cases(folder):
            for width, dark in SCREENS:
                try:
                    check(browser, path, figures, width, dark)
                    passed += 1
                except AssertionError as error:
                    failed += 1
                    print(f"{path.name}, {width} pixels, {'dark' if dark else 'light'}: {error}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
