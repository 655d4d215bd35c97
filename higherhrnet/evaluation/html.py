"""Numbers → one HTML page that opens without a server, in light and dark, on paper and phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from higherhrnet.evaluation.metrics import format_metric
from higherhrnet.evaluation.precision_recall import RECALLS, THRESHOLDS, PrecisionRecall

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --faint: #6b6b76;
  --line: #d9d9e0; --bar: #3b76d6; --lightness: 45%; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6ea; --paper: #17171b; --faint: #9a9aa6;
  --line: #3a3a44; --bar: #6a9cf0; --lightness: 65%; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, figcaption, td.note { color: var(--faint); margin: .25rem 0; }
h1, figcaption { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th { font-weight: 600; } .number { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: var(--bar); height: .8rem; border-radius: 2px; margin-top: .35rem; }
.bars th { width: 8.5rem; } .bars .number { width: 5rem; } .bars td.share { width: 35%; }
.bars td.note { width: 35%; min-width: 9rem; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font-size: 12px; }
.grid { stroke: var(--line); } .curve { fill: none; stroke-width: 1.8; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1rem; font-variant-numeric: tabular-nums; }
.key i { display: inline-block; width: 1rem; height: .25rem; margin-right: .35rem;
  vertical-align: middle; }
@media (max-width: 40rem) { svg text { font-size: 18px; } th, td { padding: .3rem .25rem; }
  .bars tr { display: grid;
  grid-template-columns: 8.5rem 4.5rem 1fr; border-bottom: 1px solid var(--line); }
  .bars th, .bars td { border: 0; } .bars td.share { width: auto; }
  .bars td.note { grid-column: 1 / -1; width: auto; padding-top: 0; } }
figure { margin: 1.25rem 0; } .pair { display: grid; gap: .5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
img { width: 100%; height: auto; border-radius: 4px; display: block; }
"""


def page(title: str, sections: Sequence[str]) -> str:
    """The whole page; nothing in it is fetched from elsewhere."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{STYLE}</style></head>",
            f"<body><h1>{escape(title)}</h1>",
            *sections,
            "</body></html>\n",
        ]
    )


def section(title: str, note: str, content: str) -> str:
    """A headed part of the page, with a sentence about it."""
    return f"<section><h2>{escape(title)}</h2><p>{escape(note)}</p>{content}</section>"


def table(heads: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """Numbers under heads, a named row each."""
    first = "".join(f'<th class="number">{escape(head)}</th>' for head in heads)
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
        + "</tr>"
        for name, cells in rows.items()
    )
    return f'<div class="wide"><table><tr><th></th>{first}</tr>{body}</table></div>'


def bars(rows: Sequence[tuple[str, str, float, str]]) -> str:
    """Rows of a name, a value as text, its bar's length from 0 to 1, and a note."""
    cells = (
        f'<tr><th>{escape(name)}</th><td class="number">{escape(value)}</td>'
        f'<td class="share"><div class="bar" style="width:{100 * max(length, 0):.1f}%"></div></td>'
        f'<td class="note">{escape(note)}</td></tr>'
        for name, value, length, note in rows
    )
    return f'<div class="wide"><table class="bars">{"".join(cells)}</table></div>'


def precision_recall(curves: PrecisionRecall) -> str:
    """The curve at each OKS, as a drawing with a key."""
    width, height, left, top, bottom = 640, 360, 48, 10, 34  # pixels
    across, down = width - left - 10, height - top - bottom

    def x(recall: float) -> float:
        return left + across * recall

    def y(precision: float) -> float:
        return top + down * (1 - precision)

    grid = "".join(
        f'<line class="grid" x1="{x(0)}" x2="{x(1)}" y1="{y(v)}" y2="{y(v)}"/>'
        f'<line class="grid" x1="{x(v)}" x2="{x(v)}" y1="{y(0)}" y2="{y(1)}"/>'
        f'<text x="{left - 6}" y="{y(v) + 4}" text-anchor="end">{v:g}</text>'
        f'<text x="{x(v)}" y="{y(0) + 16}" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.2, 0.4, 0.6, 0.8, 1)
    )
    lines, key = [], []
    for place, (oks, precision) in enumerate(zip(THRESHOLDS, curves.precision, strict=True)):
        color = f"hsl({220 + 18 * place} 75% var(--lightness))"
        points = " ".join(
            f"{x(r):.1f},{y(p):.1f}" for r, p in zip(RECALLS, precision.clip(0), strict=True)
        )
        lines.append(f'<polyline class="curve" style="stroke:{color}" points="{points}"/>')
        ap = format_metric(curves.ap(oks))
        key.append(f'<span><i style="background:{color}"></i>OKS {oks:.2f}: {ap}</span>')
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="precision over recall">{grid}'
        f'<text x="{x(0.5)}" y="{height - 2}" text-anchor="middle">recall</text>'
        f'<text transform="translate(12 {y(0.5)}) rotate(-90)" text-anchor="middle">precision'
        f"</text>{''.join(reversed(lines))}</svg>"
        f'<div class="key">{"".join(key)}</div>'
    )


def pictures(files: Sequence[tuple[str, str]], caption: str) -> str:
    """Pictures beside each other, given as addresses and what they show; below them a caption."""
    shown = "".join(
        f'<img src="{escape(address)}" alt="{escape(what)}" title="{escape(what)}" loading="lazy">'
        for address, what in files
    )
    inside = f'<div class="pair">{shown}</div><figcaption>{escape(caption)}</figcaption>'
    return f"<figure>{inside}</figure>"
