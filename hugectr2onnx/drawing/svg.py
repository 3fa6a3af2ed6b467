"""The drawing as SVG: text and shapes alone, no script and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from hugectr2onnx.drawing.diagram import BOX_KINDS, DRAWING_MARK, Box, Diagram, Kind
from hugectr2onnx.drawing.layout import HEADING, Curve, PageLayout, Rectangle, lay_out
from hugectr2onnx.drawing.measure import LINE_HEIGHT, LINE_POINTS, MARGIN, TITLE_POINTS, shown_lines, text_width
from hugectr2onnx.pages.numbers import size

_STYLE = """
text { font-family: Helvetica, Arial, sans-serif; fill: #111; }
.box rect, .box path { stroke: #444; stroke-width: 1; }
.group rect { fill: #fff; stroke: #888; stroke-dasharray: 4 3; }
.group text { font-size: 10px; font-weight: bold; fill: #333; }
.edge path { fill: none; stroke: #555; stroke-width: 1; marker-end: url(#tip); }
.edge text { font-size: 9px; fill: #333; }
""".strip()
LEGEND_HEIGHT, TITLE_HEIGHT = 20.0, 28.0


def svg_text(diagrams: Sequence[Diagram], notes: Sequence[str] = ()) -> str:
    """Return one drawing, or several side by side, under a legend of the colours; notes stand in a column on the right."""
    layouts = [lay_out(diagram) for diagram in diagrams]
    kinds = [kind for kind in BOX_KINDS if any(kind in diagram.kinds for diagram in diagrams)]
    legend = TITLE_HEIGHT + LEGEND_HEIGHT * len(kinds)
    column = max((text_width(note, TITLE_POINTS) + 2 * MARGIN for note in notes), default=0.0)
    width = max(sum(layout.width + 2 * MARGIN for layout in layouts) + column, 260.0)
    height = max(layout.height for layout in layouts) + TITLE_HEIGHT
    height = max(height, LINE_HEIGHT * (len(notes) + 2)) + legend + 2 * MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label={quoteattr(_summary(diagrams))}>',
        f"<!-- {DRAWING_MARK} -->",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
        *_legend(kinds),
    ]
    x = MARGIN
    for diagram, layout in zip(diagrams, layouts, strict=True):
        lines.append(f'<g transform="translate({x:.1f} {legend:.1f})">')
        lines.append(f'<text x="0" y="18" font-size="15" font-weight="bold">{escape(diagram.title)}</text>')
        lines.append(f'<g transform="translate(0 {TITLE_HEIGHT:.1f})">')
        lines += _drawing(diagram, layout)
        lines += ["</g>", "</g>"]
        x += layout.width + 2 * MARGIN
    for number, note in enumerate(notes):
        y = legend + 18 + LINE_HEIGHT * number
        lines.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{TITLE_POINTS}">{escape(note)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def _summary(diagrams: Sequence[Diagram]) -> str:
    return "; ".join(f"{diagram.title}: {len(diagram.boxes)} boxes, {len(diagram.edges)} edges" for diagram in diagrams)


def _legend(kinds: Sequence[Kind]) -> Iterator[str]:
    for number, kind in enumerate(kinds):
        text, colour = BOX_KINDS[kind]
        y = MARGIN + LEGEND_HEIGHT * number
        yield f'<rect x="{MARGIN}" y="{y:.1f}" width="14" height="14" fill="{colour}" stroke="#444"/>'
        yield f'<text x="{MARGIN + 20}" y="{y + 11:.1f}" font-size="11">{escape(text)}</text>'


def _drawing(diagram: Diagram, layout: PageLayout) -> Iterator[str]:
    for group, place in zip(diagram.groups, layout.groups, strict=True):
        yield f'<g class="group">{_rectangle(place, 4)}{_text(place.x + 6, place.y + HEADING - 5, group.title)}</g>'
    for edge, curve in zip(diagram.edges, layout.edges, strict=True):
        label = _text(*curve.label_at, edge.label, anchor="middle") if edge.label else ""
        yield f'<g class="edge"><path d="{_path(curve)}"/>{label}</g>'
    for box, place in zip(diagram.boxes, layout.boxes, strict=True):
        yield _box(box, place)


def _box(box: Box, place: Rectangle) -> str:
    colour = BOX_KINDS[box.kind][1]
    shape = _cylinder(place, colour) if box.kind == "table" else _rectangle(place, 5, colour)
    middle = place.x + place.width / 2
    y = place.y + MARGIN + TITLE_POINTS
    lines = [f'<text x="{middle:.1f}" y="{y:.1f}" font-size="{TITLE_POINTS}" font-weight="bold" text-anchor="middle">']
    lines += [f"{escape(box.title)}</text>"]
    for line in shown_lines(box):
        y += LINE_HEIGHT
        lines.append(
            f'<text x="{middle:.1f}" y="{y:.1f}" font-size="{LINE_POINTS}" text-anchor="middle">{escape(line)}</text>'
        )
    return f'<g class="box" data-name={quoteattr(box.name)}><title>{escape(_details(box))}</title>{shape}{"".join(lines)}</g>'


def _details(box: Box) -> str:
    """Return all that is known of a box; browsers show it when the mouse is over it."""
    layers = f"layers: {', '.join(box.layers)}" if box.layers else ""
    held = f"constants: {size(box.bytes)}" if box.bytes else ""
    return "\n".join(line for line in (box.title, *box.lines, layers, held) if line)


def _rectangle(place: Rectangle, radius: float, fill: str | None = None) -> str:
    colour = f' fill="{fill}"' if fill else ""
    return (
        f'<rect x="{place.x:.1f}" y="{place.y:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" '
        f'rx="{radius}"{colour}/>'
    )


def _cylinder(place: Rectangle, fill: str) -> str:
    """As data is drawn everywhere."""
    left, right, rise = place.x, place.right, 5.0
    top, bottom, radius = place.y + rise, place.bottom - rise, place.width / 2
    arc = f"A{radius:.1f} {rise} 0 0"
    outline = f"M{left:.1f} {top:.1f}{arc} 1 {right:.1f} {top:.1f}V{bottom:.1f}{arc} 1 {left:.1f} {bottom:.1f}Z"
    rim = f"M{left:.1f} {top:.1f}{arc} 0 {right:.1f} {top:.1f}"
    return f'<path d="{outline}" fill="{fill}"/><path d="{rim}" fill="none"/>'


def _path(curve: Curve) -> str:
    (x, y), *rest = curve.points
    return f"M{x:.1f} {y:.1f}C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in rest)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
