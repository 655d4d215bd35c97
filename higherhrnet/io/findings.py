"""Findings: problems of a dataset by kind, with the number of cases and examples."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from higherhrnet.messages import one_line

_MAX_CASES = 3
"""Number of cases that a line describes."""


@dataclass(frozen=True)
class Finding:
    """A kind of problem in a dataset, with all cases of it."""

    singular: str
    """The problem in the singular, for example "image cannot be read"."""
    plural: str
    """The problem in the plural, for example "images cannot be read"."""
    cases: list[str]
    """A description of each case."""
    is_error: bool = True
    """Whether something is wrong; False for a note on something that may be intended."""
    total: int | None = None
    """The number of images, people or keypoints that were checked, of which the cases are a part;
    None if the share is of no interest."""

    def summary(self) -> str:
        """Formats one line with the level, the number of cases and the first of them."""
        return f"{'error' if self.is_error else 'note'}: {self.text()}"

    def text(self) -> str:
        """Formats the number of cases, their share and the first of them."""
        count, listed = len(self.cases), self.cases[:_MAX_CASES]
        if count > _MAX_CASES:
            listed = [*listed, f"and {count - _MAX_CASES:,} more"]
        problem = self.singular if count == 1 else self.plural
        share = f", {_percentage(count, self.total)} of {self.total:,}" if self.total else ""
        return one_line(f"{count:,} {problem}{share} ({'; '.join(listed)})")


class FindingCollector:
    """Collects single cases and groups them by kind, in the order in which the kinds occur."""

    def __init__(self) -> None:
        self._cases: defaultdict[tuple[str, str, bool], list[str]] = defaultdict(list)

    def add(self, singular: str, plural: str, case: str, is_error: bool = True) -> None:
        """Adds a case; the arguments are the fields of `Finding`."""
        self._cases[singular, plural, is_error].append(case)

    def findings(self) -> list[Finding]:
        """Returns a finding for each kind."""
        return [
            Finding(singular, plural, cases, is_error)
            for (singular, plural, is_error), cases in self._cases.items()
        ]


def _percentage(count: int, total: int) -> str:
    """Formats a share; at least "<1 %" where there is a case, and 100 % only for all."""
    percent = 100 * count / total
    if 0 < percent < 1:
        return "less than 1 %"
    return f"{min(round(percent), 99 if count < total else 100)} %"
