"""Explain why a bottom has no producer."""

from __future__ import annotations

from collections.abc import Collection

from hugectr2onnx.errors import GraphJsonError, HugeCTR2ONNXError, MissingInformationError, Setting
from hugectr2onnx.frontend.graph_json.clauses import GraphClauses, LayerClause
from hugectr2onnx.frontend.suggestion import near_names, nearest


def nobody_produces(name: str, clause: LayerClause, clauses: GraphClauses, known: Collection[str]) -> HugeCTR2ONNXError:
    """Return the error for a bottom that no earlier layer produces: a cycle, a label, or a lost EmbeddingCollection."""
    later = next((other for other in clauses.layers if name in other.tops), None)
    if later is not None:
        relation = "itself" if later.index == clause.index else f"{later.where}, which comes after it"
        return GraphJsonError(
            f"{name!r} is produced only by {relation}: the layers form a cycle or are out of order, and the dense file "
            "follows their order; list each layer after those that it reads"
        )
    if name in clauses.label_of:
        return GraphJsonError(f"{name!r} is a label, which no layer but a loss can read at evaluation")
    if any(name == sparse.top for sparse in clauses.data.sparse):
        return GraphJsonError(f"{name!r} holds keys, which only an embedding layer can read")
    problem = f"nothing in the JSON produces {name!r} ({nearest(name, known)})"
    if near_names(name, known):
        return MissingInformationError(problem)
    feed = (
        "give its shape, for example ",
        Setting("input_shapes", {name: ("N", "slots", "vec")}),
        ", and feed it yourself",
    )
    if not _has_unread_keys(clauses):
        return MissingInformationError(f"{problem}: if a layer is missing, mend the JSON; or ", *feed)
    return MissingInformationError(
        f"{problem}. graph_to_json does not save the look-ups of an EmbeddingCollection: if it is one of their tops, describe "
        "them with ",
        Setting("embedding_collection"),
        ", which reads the tables of embedding_dump (docs/embeddings.md); or ",
        *feed,
    )


def _has_unread_keys(clauses: GraphClauses) -> bool:
    """Tell whether keys are read that no embedding layer looks up: those of an EmbeddingCollection, which the JSON lacks."""
    looked_up = {clause.bottom for clause in clauses.embeddings}
    return any(sparse.top not in looked_up for sparse in clauses.data.sparse)
