"""`draw`: a picture of a HugeCTR model, before or after the passes, or of an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hugectr2onnx import passes
from hugectr2onnx.backend.saving.replace_file import replace_file
from hugectr2onnx.drawing.diagram import DRAWING_MARK, Diagram
from hugectr2onnx.drawing.dot import dot_text
from hugectr2onnx.drawing.from_ir import diagram_of_graph
from hugectr2onnx.drawing.from_onnx import diagram_of_file
from hugectr2onnx.drawing.html import html_text
from hugectr2onnx.drawing.mermaid import mermaid_text
from hugectr2onnx.drawing.svg import svg_text
from hugectr2onnx.errors import OptionError
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses
from hugectr2onnx.frontend.loading import load
from hugectr2onnx.frontend.survey import survey
from hugectr2onnx.frontend.weights.snapshot import WeightsLike
from hugectr2onnx.options import Options


@dataclass(frozen=True)
class Drawing:
    """Diagrams side by side, and notes about what lies between them."""

    diagrams: tuple[Diagram, ...]
    notes: tuple[str, ...] = ()

    def text(self, format: str) -> str:
        """Return the drawing as `svg`, `html`, `dot` or `mmd`; the last two draw one diagram alone."""
        return _WRITERS[format](self)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write the drawing in the format that the file's name ends with.

        Raises OutputError where it cannot be written, or where a file stands there that `draw` did not write and `force` is
        not given; OptionError for another ending.
        """
        content = self.text(format_of(path)).encode()
        replace_file(path, content, is_own=lambda head: DRAWING_MARK.encode() in head, force=force)

    def _repr_html_(self) -> str:
        return self.text("svg")


def _single(write: Callable[[Diagram], str]) -> Callable[[Drawing], str]:
    def written(drawing: Drawing) -> str:
        if len(drawing.diagrams) != 1:
            raise OptionError(
                "a .dot or .mmd file holds one diagram: draw before and after as .svg or .html", option="out"
            )
        return write(drawing.diagrams[0])

    return written


_WRITERS: Mapping[str, Callable[[Drawing], str]] = {
    "svg": lambda drawing: svg_text(drawing.diagrams, drawing.notes),
    "html": lambda drawing: html_text(drawing.diagrams, drawing.notes),
    "dot": _single(dot_text),
    "mmd": _single(mermaid_text),
}


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format that the name of a file asks for. Raises OptionError."""
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in _WRITERS:
        raise OptionError(
            f"{os.fspath(path)}: a drawing ends in {', '.join(f'.{each}' for each in _WRITERS)}", option="out"
        )
    return ending


def draw(
    model: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike | None = None,
    options: Options | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    before_after: bool = False,
    force: bool = False,
    **changes: Any,
) -> Drawing:
    """Draw a HugeCTR model or an ONNX file; with `out`, write it as .svg, .html, .dot or .mmd.

    model: a graph JSON (its path, or the parsed dict) or the path of an ONNX file. Without weights the graph is drawn as
    imported; with them, after the passes of `opt_level`. before_after: both side by side, with what each pass did.
    `options` and `changes` are as for `compile`. Raises HugeCTR2ONNXError where the model cannot be read, OutputError where
    the drawing cannot be written.
    """
    if out is not None:
        format_of(out)
    drawing = _drawn(model, weights, (options or Options()).changed(**changes), before_after)
    if out is not None:
        drawing.save(out, force=force)
    return drawing


def _drawn(
    model: str | os.PathLike[str] | Mapping[str, object],
    weights: WeightsLike | None,
    options: Options,
    before_after: bool,
) -> Drawing:
    if not isinstance(model, Mapping) and Path(model).suffix.lower() == ".onnx":
        if weights is not None or before_after:
            raise OptionError(
                "an ONNX file is drawn as it is: leave out weights and before_after, or draw its graph JSON"
            )
        return Drawing((diagram_of_file(model),))
    if weights is not None:
        return _compiled(model, weights, options, before_after)
    if before_after:
        raise OptionError("what the passes do depends on the weights: give them to draw before and after")
    return _imported(model, options)


def _imported(model: str | os.PathLike[str] | Mapping[str, object], options: Options) -> Drawing:
    """Without weights: the layers as they come in. Raises the first error of the import."""
    surveyed = survey(model, None, options)
    errors = [*surveyed.errors, *(surveyed.layers.importer.errors if surveyed.layers else ())]
    if errors:
        raise errors[0]
    assert surveyed.layers is not None, "without layers there is an error"
    types = layer_types_of(surveyed.layers.clauses)
    return Drawing((diagram_of_graph(surveyed.layers.importer.graph, _name(model), types, has_tables=False),))


def _compiled(
    model: str | os.PathLike[str] | Mapping[str, object], weights: WeightsLike, options: Options, before_after: bool
) -> Drawing:
    loaded = load(model, weights, options)
    types, name = layer_types_of(loaded.clauses), _name(model)
    before = diagram_of_graph(loaded.graph, f"{name}, as imported", types) if before_after else None
    done = passes.run(loaded.graph, options.opt_level)
    after = diagram_of_graph(loaded.graph, f"{name} at level {options.opt_level}", types)
    return Drawing((before, after), tuple(_notes(done))) if before else Drawing((after,))


def _notes(done: Sequence[passes.PassRun]) -> list[str]:
    lines = ["what the passes did, in order"]
    for each in done:
        fires = ", ".join(f"{rule} x{count}" if count > 1 else rule for rule, count in each.fires.items())
        lines.append(f"{each.name}: {fires} ({each.ops_before} to {each.ops_after} ops)")
    return lines


def layer_types_of(clauses: GraphClauses) -> dict[str, str]:
    """Return the type of each layer, by its first top."""
    embeddings = {clause.top: clause.type for clause in clauses.embeddings}
    return embeddings | {clause.tops[0]: clause.type for clause in clauses.layers if clause.tops}


def _name(model: str | os.PathLike[str] | Mapping[str, object]) -> str:
    return "model" if isinstance(model, Mapping) else Path(model).stem
