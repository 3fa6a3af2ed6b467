"""The diagram in Mermaid's language, which GitHub and many wikis draw."""

from __future__ import annotations

from collections.abc import Iterator

from hugectr2onnx.drawing.diagram import BOX_KINDS, DRAWING_MARK, Diagram


def mermaid_text(diagram: Diagram) -> str:
    """Return the diagram as a Mermaid flow chart, a subgraph for each group."""
    return "\n".join(_lines(diagram)) + "\n"


def _lines(diagram: Diagram) -> Iterator[str]:
    yield f"---\ntitle: {_quoted(diagram.title)}\n---\nflowchart TB\n  %% {DRAWING_MARK}"
    ids = {box.name: f"n{number}" for number, box in enumerate(diagram.boxes)}
    for box in diagram.boxes:
        text = _quoted("<br>".join(_escaped(line) for line in (box.title, *box.lines)))
        open, close = ("[(", ")]") if box.kind == "table" else ("[", "]")
        yield f"  {ids[box.name]}{open}{text}{close}:::{_class(box.kind)}"
    for number, group in enumerate(diagram.groups):
        yield f"  subgraph g{number}[{_quoted(_escaped(group.title))}]"
        yield from (f"    {ids[name]}" for name in group.boxes)
        yield "  end"
    for edge in diagram.edges:
        label = f"|{_quoted(_escaped(edge.label))}|" if edge.label else ""
        yield f"  {ids[edge.source]} -->{label} {ids[edge.target]}"
    yield from (f"  classDef {_class(kind)} fill:{BOX_KINDS[kind][1]},stroke:#444,color:#111" for kind in diagram.kinds)


def _class(kind: str) -> str:
    return kind.replace("-", "")


def _escaped(text: str) -> str:
    """Mermaid reads entity codes, written with a # for the &."""
    codes = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;"}
    return "".join(codes.get(character, character) for character in text)


def _quoted(text: str) -> str:
    return f'"{text}"'
