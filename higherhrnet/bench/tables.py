"""Figures as tables to read, which are Markdown at the same time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from higherhrnet.bench.figures import Crowd, Figures, Row, Spread
from higherhrnet.bench.timed import Memory, Way

_ALONE = "way read resize network aggregate decode all faster people same"
_STREAMED = "way alone streamed at_once faster busy MB,_alone streamed"
_DECODED = "people found original:_aggregate decode ours:_aggregate decode faster decode_alone same"


def format_figures(figures: Figures, runs: int) -> str:
    """All tables of one size."""
    return "\n\n".join(_parts(figures, runs))


def _parts(figures: Figures, runs: int) -> Iterator[str]:
    rows, shown = figures.rows, figures.shown
    yield (
        f"{figures.photograph}, shown at {figures.width}×{figures.height}"
        f"{' and mirrored' if figures.flip else ''}; medians (least–most) of {runs}, in turn"
    )
    if shown is not None:
        yield (
            "A network with random weights finds nobody: wherever one runs here, "
            f"maps with {shown} drawn people then take the place of its own."
        )
    yield "One photograph at a time, in milliseconds:"
    yield _table(_ALONE, (_alone(row, row.crowd(shown)) for row in rows))
    yield "Images a second, alone and streamed, some at once in the network; the most MB held:"
    slowest = rows[0].crowd(shown).all.median if rows[0].way == str(Way()) else None
    yield _table(_STREAMED, (_streamed(row, row.crowd(shown), slowest) for row in rows))
    drawn = [crowd.people for crowd in rows[0].crowds if crowd.people is not None]
    if drawn:
        yield "From the photograph to people, by how many are drawn in the maps, in milliseconds:"
        headings = " ".join(["way", *(f"{people}_drawn" for people in drawn)])
        yield _table(headings, ([row.way, *map(_whole, map(row.crowd, drawn))] for row in rows))
        if slowest:
            theirs, ours = rows[:2]
            yield f"From maps to people, in milliseconds; ours in the process of {ours.way}:"
            yield _table(_DECODED, (_decoded(theirs.crowd(n), ours.crowd(n)) for n in drawn))
    if figures.left_out:
        yield "\n".join(f"left out: {way}: {why}" for way, why in figures.left_out.items())


def _alone(row: Row, crowd: Crowd) -> list[str]:
    steps = row.read, row.resize, row.network, crowd.aggregate, crowd.decode
    medians = [f"{step.median:.1f}" for step in steps]
    found, same = _people(crowd)
    same = same if crowd.people is None else ""  # of drawn maps it says nothing here
    return [row.description, *medians, _spread(crowd.all), _ratio(crowd.faster), found, same]


def _streamed(row: Row, crowd: Crowd, slowest: float | None) -> list[str]:
    whole = crowd.all
    alone = Spread(1e3 / whole.median, 1e3 / whole.most, 1e3 / whole.least)
    memory = _memory(row.memory_alone)
    if row.streamed is None or row.busy is None or row.memory_streamed is None:
        return [row.way, _spread(alone), "", "", "", "", memory, ""]
    ratio = _ratio(row.streamed.median * slowest / 1e3 if slowest else None)
    busy = f"{row.busy.median:.0%}"
    streamed = _memory(row.memory_streamed)
    rates = _spread(alone), _spread(row.streamed)
    return [row.way, *rates, str(row.streams), ratio, busy, memory, streamed]


def _whole(crowd: Crowd) -> str:
    return f"{_spread(crowd.all)} {_ratio(crowd.faster)}".rstrip()


def _decoded(theirs: Crowd, ours: Crowd) -> list[str]:
    steps = theirs.aggregate, theirs.decode, ours.aggregate, ours.decode
    before, merged, after = theirs.decode.median, ours.aggregate.median, ours.decode.median
    both = (theirs.aggregate.median + before) / (merged + after)
    _, same = _people(ours)
    found = f"{theirs.found} / {ours.found}"
    times = map(_spread, steps)
    return [str(theirs.people), found, *times, _ratio(both), _ratio(before / after), same]


def _people(crowd: Crowd) -> tuple[str, str]:
    return str(crowd.found), {None: "", True: "yes", False: "no"}[crowd.same]


def _spread(spread: Spread) -> str:
    digits = 2 if spread.median < 10 else 1 if spread.median < 100 else 0
    return f"{spread.median:.{digits}f} ({spread.least:.{digits}f}–{spread.most:.{digits}f})"


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.1f}×" if ratio < 10 else f"{ratio:.0f}×"


def _memory(memory: Memory) -> str:
    held = {"": memory.ram, " GPU": memory.gpu}
    return " + ".join(f"{count / 1e6:.0f}{where}" for where, count in held.items() if count)


def _table(headings: str, rows: Iterable[list[str]]) -> str:
    """Aligned columns, the first to the left; an underscore in a heading stands for a space."""
    lines = [[heading.replace("_", " ") for heading in headings.split()], *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(
        f"| {cells[0]:{widths[0]}} | {' | '.join(map(str.rjust, cells[1:], widths[1:]))} |"
        for cells in (lines[0], rule, *lines[1:])
    )
