"""Layers written with `"type": ""` by mixed-precision runs (formats 1.5): the type that the parameters tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hugectr2onnx.errors import UnsupportedError
from hugectr2onnx.frontend.graph_json.clauses import Label, LayerClause
from hugectr2onnx.ir.types import Dim

# Each key belongs to one type only.
_TYPE_OF_KEY: Mapping[str, str] = {
    "target_weight": "MultiCrossEntropyLoss",
    "scale_param": "Scale",
    "indices": "Gather",
    "gru_param": "GRU",
    "prelu_dice_param": "PReLU_Dice",
    "mlp_param": "MLP",
    "mc_param": "MultiCross",
    "bn_param": "BatchNorm",
    "ln_param": "LayerNorm",
    "elu_param": "ELU",
    "rate": "Dropout",
    "ranges": "Slice",
    "weight_dims": "WeightMultiply",
    "out_dim": "FmOrder2",
    "factor": "Softmax",
    "selected": "Reshape",
    "leading_dim": "Reshape",
    "num_attention_heads": "MultiHeadAttention",
    "max_sequence_len": "SequenceMask",
    "max_sequence_len_from": "SequenceMask",
}


def repair_by_parameters(layer: LayerClause) -> LayerClause:
    """Return the layer with the type that its own keys tell, or as it is."""
    return layer if layer.type else replace(layer, type=_type_by_keys(layer))


def repair_by_label(layer: LayerClause, label_of: Mapping[str, str], labels: Sequence[Label]) -> LayerClause:
    """Return a layer without a type whose second bottom is a label is a loss; the other two losses are told apart by width.

    BinaryCrossEntropyLoss has a name in mixed precision too; CrossEntropyLoss has two columns (layers 3.27). A narrow
    label leaves that open, for older versions took one column for it: `settle_loss` looks at the prediction.
    """
    if layer.type or len(layer.bottoms) != 2 or layer.bottoms[1] not in label_of:
        return layer
    widths = {label.name: label.dim for label in labels}
    wide = widths.get(label_of[layer.bottoms[1]], 1) > 2
    if wide:
        return replace(layer, type="MultiCrossEntropyLoss")
    return replace(layer, type="CrossEntropyLoss", is_type_open=True)


def settle_loss(layer: LayerClause, columns: tuple[Dim, ...]) -> LayerClause:
    """Return a loss whose type was open, now that the last dimension of its prediction is known."""
    if not layer.is_type_open or columns == (2,):
        return layer
    return replace(layer, type="MultiCrossEntropyLoss", is_type_open=False)


def refuse_untyped(layers: Sequence[LayerClause], known_types: Collection[str]) -> None:
    """Raises UnsupportedError that lists every layer whose type is lost."""
    lost = [f"layers[{x.index}] {', '.join(x.bottoms)} -> {', '.join(x.tops)}" for x in layers if not x.type]
    if lost:
        raise UnsupportedError(
            f'{len(lost)} layers have "type": "" (mixed precision writes that for types without a half version) and '
            f"their parameters do not tell which they are: {'; '.join(lost)[:1000]}. Write the type into the JSON: "
            f"one of {', '.join(sorted(known_types))}"
        )


def _type_by_keys(layer: LayerClause) -> str:
    keys = set(layer.params)
    if "fc_param" in keys:
        return "FusedInnerProduct" if "position" in keys else "InnerProduct"
    if keys == {"axis"}:
        # ReduceSum and Concat have names in mixed precision, so only ReduceMean can lack one.
        return "ReduceMean"
    if not keys and len(layer.tops) == 2:
        return "FusedReshapeConcat"
    return next((name for key, name in _TYPE_OF_KEY.items() if key in keys), "")
