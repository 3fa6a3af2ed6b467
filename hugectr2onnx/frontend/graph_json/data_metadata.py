"""The Data layer of a model as its metadata records it: what a data set of the model looks like.

A model may lack inputs that its data set has (a tower alone, a sparse input that no layer reads), and its outputs need not be
labels; so the columns of a data set cannot be told from the interface of the ONNX file.
"""

from __future__ import annotations

import json

from hugectr2onnx.errors import FeedError
from hugectr2onnx.frontend.graph_json import json_text
from hugectr2onnx.frontend.graph_json.clauses import DataClause, Label, SparseInput
from hugectr2onnx.frontend.graph_json.fields import Fields

DATA_METADATA_KEY = "hugectr2onnx.data"


def to_metadata(data: DataClause) -> str:
    """Return the Data layer as JSON, its keys in order, so that the same graph gives the same bytes."""
    return json.dumps(
        {
            "dense": {"top": data.dense_top, "dense_dim": data.dense_dim},
            "labels": [{"top": label.name, "label_dim": label.dim} for label in data.labels],
            "sparse": [{"top": sparse.top, "nnz_per_slot": list(sparse.nnz_per_slot)} for sparse in data.sparse],
        },
        sort_keys=True,
    )


def from_metadata(text: str) -> DataClause:
    """Return the Data layer of a model. Raises FeedError for a text that `to_metadata` cannot have written."""
    where = f"the metadata {DATA_METADATA_KEY}"
    fields = Fields(json_text.parse(text, where, FeedError), where, FeedError)
    dense = fields.child("dense")
    labels = tuple(
        Label(each.string("top"), each.integer("label_dim", minimum=1)) for each in fields.children("labels")
    )
    sparse = tuple(_sparse(each) for each in fields.children("sparse"))
    return DataClause(labels, dense.string("top"), dense.integer("dense_dim", minimum=0), sparse)


def _sparse(fields: Fields) -> SparseInput:
    hotness = fields.integers("nnz_per_slot", minimum=1)
    return SparseInput(fields.string("top"), len(hotness), hotness, is_fixed_length=False)
