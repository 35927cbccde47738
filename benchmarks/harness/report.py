"""Puts tables and figures of stored results into the documentation.

A page has the line ``<!-- benchmark: NAME -->``, the table, and ``<!-- end of benchmark -->``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness import figures, tables
from harness.sides import ROOT

PAGES = (ROOT / "README.md", ROOT / "docs" / "performance.md")
IMAGES = ROOT / "docs" / "images" / "performance"
END = "<!-- end of benchmark -->"
BLOCKS = {
    "measured on": tables.measured_on,
    "summary": tables.summary_table,
    "machine": tables.machine_table,
    "comparison": tables.comparison_table,
    "peers": tables.peers_table,
    "goals": tables.goals_table,
    "surfaces": tables.surfaces_table,
    "threads": tables.threads_table,
    "routers": tables.routers_table,
    "growth": tables.growth_table,
    "neighbour": tables.neighbour_table,
}


def pasted(text: str, content: dict[str, Any]) -> str:
    """Return a page with its tables made anew.

    Raises
    ------
    RuntimeError
        For a marker that names no table, or has no end.
    """

    def block(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in BLOCKS or match["end"] is None:
            known = ", ".join(BLOCKS)
            raise RuntimeError(f"benchmark: {name}: names no table or has no end; known: {known}")
        return f"<!-- benchmark: {name} -->\n\n{BLOCKS[name](content)}\n\n{END}"

    pattern = rf"<!-- benchmark: (?P<name>.*?) -->(?:(?:(?!<!-- ).)*(?P<end>{END}))?"
    return re.sub(pattern, block, text, flags=re.DOTALL)


def write(
    content: dict[str, Any], pages: tuple[Path, ...] = PAGES, images: Path = IMAGES
) -> list[Path]:
    """Fill the pages and draw the figures; return what was written."""
    for page in pages:
        page.write_text(pasted(page.read_text(), content))
    images.mkdir(parents=True, exist_ok=True)
    return [*pages, *figures.draw(content, images)]
