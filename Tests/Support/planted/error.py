"""One error to plant."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Spot:
    """Where a switch between right and wrong goes: a range of characters of a file."""

    number: int
    start: int
    end: int
    new: str
    is_expression: bool


@dataclasses.dataclass(frozen=True)
class Error:
    """Replaces in a file of the engine `old`, which occurs once, by `new`.

    If `old` has a part in «…», an expression, or in ⟦…⟧, statements, only that part is replaced and
    the rest says where it stands; otherwise `old` is statements. `tests` is a regular expression
    for the tests that ought to notice.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str

    @property
    def text(self):
        """What occurs once in the file."""
        return self.old.translate({ord(mark): None for mark in "«»⟦⟧"})

    def spot(self, number, position):
        """Where the switch goes when the text begins at `position`."""
        is_expression = "«" in self.old
        opening, closing = "«»" if is_expression else "⟦⟧"
        if opening not in self.old:
            return Spot(number, position, position + len(self.old), self.new, False)
        before, _, rest = self.old.partition(opening)
        inside, _, _ = rest.partition(closing)
        start = position + len(before)
        return Spot(number, start, start + len(inside), self.new, is_expression)


class File:
    """Collects errors of one file of the engine."""

    def __init__(self, errors, file, tests):
        self.errors, self.file, self.tests = errors, file, tests

    def wrong(self, name, old, new, tests=None):
        """Plant `new` in place of `old`."""
        self.errors.append(Error(name, self.file, old, new, tests or self.tests))

    def larger(self, name, old, tests=None):
        """Enlarge what is marked in `old` by one per cent."""
        marked = old.partition("«")[2].partition("»")[0]
        assert marked, f"{name}: nothing is marked"
        self.wrong(name, old, f"({marked}) * 1.01", tests)

    def followed(self, name, old, by, tests=None):
        """Plant `by` after `old`."""
        self.wrong(name, old, f"{old}\n{by}", tests)
