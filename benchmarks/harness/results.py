"""What was measured on one machine, kept as JSON; a run replaces what it measures anew."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any


class Results:
    """Sections of named results, each with its date."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def put(self, section: str, name: str, value: dict[str, Any]) -> None:
        """Keep a result and save."""
        today = datetime.date.today().isoformat()
        self.content.setdefault(section, {})[name] = {"date": today, **value}
        self.save()

    def section(self, name: str) -> dict[str, dict[str, Any]]:
        """Return the results of a section by name, none when it was not measured."""
        return dict(self.content.get(name, {}))

    def save(self) -> None:
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(rounded(self.content), indent=1) + "\n"
        self.path.write_text(text)


def rounded(value: Any) -> Any:
    """Return the same with five digits, so that stored results stay readable."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value
