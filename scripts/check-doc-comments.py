"""Fail when a public symbol of a Swift symbol graph has no comment: check-doc-comments.py FILE."""

import json
import sys
from pathlib import Path


def undocumented(graph):
    """Return the paths of the symbols that are declared in source and have no comment."""
    return sorted(
        ".".join(symbol["pathComponents"])
        for symbol in graph["symbols"]
        if "docComment" not in symbol and "::SYNTHESIZED::" not in symbol["identifier"]["precise"]
    )


def main():
    """Name the symbols without a comment; the status is 1 when there are any."""
    graph = json.loads(Path(sys.argv[1]).read_text())
    names = undocumented(graph)
    for name in names:
        print(f"{name} has no doc comment")
    print(f"{len(graph['symbols']) - len(names)} of {len(graph['symbols'])} symbols are documented")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
