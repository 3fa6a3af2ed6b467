"""What the size of the dense file tells about a Reshape by `shape=`, and when only the user can (layers 2.3)."""

from __future__ import annotations

from math import prod
from typing import Any

import pytest

from hugectr2onnx.errors import MissingInformationError
from hugectr2onnx.frontend.graph_json import reader
from hugectr2onnx.frontend.layers.layer import REGISTRY
from hugectr2onnx.frontend.recovery import Recovered, _candidates, _Part, dry_import, recover
from hugectr2onnx.frontend.resolved_options import ResolvedOptions
from hugectr2onnx.ir.types import N, f32
from hugectr2onnx.options import Options

DATA = {
    "type": "Data",
    "label": {"top": "label", "label_dim": 1},
    "dense": {"top": "dense", "dense_dim": 24},
    "sparse": [],
}
LOST = {"leading_dim": 0, "time_step": 0}


def layer(type: str, bottom: Any, top: Any, **params: Any) -> dict[str, Any]:
    return {"type": type, "bottom": bottom, "top": top, **params}


def lost(bottom: str = "dense", top: str = "lost") -> dict[str, Any]:
    return layer("Reshape", bottom, top, **LOST)


def fc(bottom: str, top: str = "fc", width: int = 1) -> dict[str, Any]:
    return layer("InnerProduct", bottom, top, fc_param={"num_output": width})


def loss(bottom: str = "fc") -> dict[str, Any]:
    return layer("BinaryCrossEntropyLoss", [bottom, "label"], "loss")


def recovered(*layers: dict[str, Any], floats: int) -> Recovered:
    """What a dense file of so many floats tells about layers over [N, 24]."""
    return recover(reader.read({"layers": [DATA, *layers]}, REGISTRY.keys()), ResolvedOptions(), floats)


def shape(*layers: dict[str, Any], floats: int) -> list[int]:
    return list(recovered(*layers, floats=floats).resolved.options.layer_attrs["lost"]["shape"])  # type: ignore[call-overload]


def question(*layers: dict[str, Any], floats: int) -> str:
    with pytest.raises(MissingInformationError) as caught:
        recovered(*layers, floats=floats)
    return str(caught.value)


def test_a_whole_sample_a_row() -> None:
    """24 weights and a bias: as rows of 24, for rows of fewer numbers would need fewer."""
    found = recovered(lost(), fc("lost"), loss(), floats=25)
    assert found.resolved.options.layer_attrs == {"lost": {"shape": [-1, 24]}}
    assert found.notes == ("lost: shape [-1, 24] is the only one that fits the dense file's size",)


def test_slots_that_a_weight_layer_reads() -> None:
    """24 = 4 slots of 6: gamma and beta of 6, and 4 columns go on, so that samples were not folded into rows."""
    layers = (lost(), layer("LayerNorm", "lost", "norm"), layer("ReduceSum", "norm", "sum", axis=2))
    flat = layer("Reshape", "sum", "flat", leading_dim=4)
    assert shape(*layers, flat, fc("flat"), loss(), floats=12 + 5) == [-1, 4, 6]


def test_samples_folded_into_rows_where_nothing_else_fits() -> None:
    """MLP takes two dimensions only: 4 weights and a bias on rows of 4, six of which make a sample again."""
    mlp = layer("MLP", "lost", "mlp", mlp_param={"num_outputs": [1]})
    flat = layer("Reshape", "mlp", "flat", leading_dim=6)
    assert shape(lost(), mlp, flat, fc("flat"), loss(), floats=5 + 7) == [-1, 4]


def test_rows_or_slots_is_asked() -> None:
    """[-1, 4] sums the four numbers of each of six rows, [-1, 4, 6] the four slots: both leave six columns."""
    flat = layer("Reshape", "sum", "flat", leading_dim=6)
    message = question(lost(), layer("ReduceSum", "lost", "sum", axis=1), flat, fc("flat"), loss(), floats=7)
    assert "[-1, 4, 6], [-1, 4], [-1, 4, 3], [-1, 4, 2], ... all fit the dense file's size" in message
    assert "layer_attrs={'lost': {'shape': [-1, 4, 6]}}" in message


def test_shapes_that_compute_the_same_are_not_asked_about() -> None:
    """A LayerNorm of the last 6 numbers, whatever stands before them, and then all side by side."""
    flat = layer("Reshape", "norm", "flat", leading_dim=24)
    found = recovered(lost(), layer("LayerNorm", "lost", "norm"), flat, fc("flat"), loss(), floats=12 + 25)
    assert found.resolved.options.layer_attrs == {"lost": {"shape": [-1, 4, 6]}}
    assert found.notes == (
        "lost: shape [-1, 4, 6] stands for [-1, 4, 6], [-1, 1, 4, 6], [-1, 2, 2, 6], [-1, 4, 1, 6], ..., which all fit the "
        "dense file's size and compute the same",
    )


def test_shapes_of_any_width_are_not_asked_about_where_all_is_put_side_by_side_again() -> None:
    flat = layer("Reshape", "relu", "flat", leading_dim=24)
    assert shape(lost(), layer("ReLU", "lost", "relu"), flat, fc("flat"), loss(), floats=25) == [-1, 24]


def test_shapes_that_compute_something_else_are_asked_about() -> None:
    """A Softmax over each row of 6, 4 or 24 numbers differs, though each leaves 24 numbers."""
    flat = layer("Reshape", "soft", "flat", leading_dim=24)
    message = question(lost(), layer("Softmax", "lost", "soft"), flat, fc("flat"), loss(), floats=25)
    assert "[-1, 24], [-1, 1, 24], [-1, 2, 12], [-1, 3, 8], ... all fit" in message


def test_rows_that_never_come_back_to_samples_do_not_fit_without_a_loss() -> None:
    """The output of [-1, 4] would have 6 rows a sample."""
    layers = (lost(), layer("MLP", "lost", "mlp", mlp_param={"num_outputs": [1]}))
    assert "no shape fits" in question(*layers, floats=5)


def test_several_lost_shapes_are_asked_for_together() -> None:
    message = question(lost(), lost("lost", "second"), fc("second"), loss(), floats=25)
    assert "'lost': {'shape': [-1, ...]}, 'second': {'shape': [-1, ...]}" in message


# Rank 4


def attention(**params: Any) -> list[dict[str, Any]]:
    """The scores of a lost query and a key of 2 heads, 3 positions and 4 numbers: 18 for each sample (layers 3.15)."""
    return [
        lost(),
        layer("MultiHeadAttention", ["lost", "key"], "scores", num_attention_heads=2, **params),
        layer("Reshape", "scores", "flat", leading_dim=18),
        fc("flat"),
        loss(),
    ]


def recovered_beside_a_key(*layers: dict[str, Any], key: tuple[int, ...], floats: int) -> Recovered:
    clauses = reader.read({"layers": [DATA, *layers]}, REGISTRY.keys())
    return recover(clauses, ResolvedOptions(Options(input_shapes={"key": ("N", *key)})), floats)


def test_a_shape_of_rank_4_is_found() -> None:
    """Only [-1, 2, 3, 4] pairs with a 4D key; the layer refuses two 3D bottoms where it has transpose_b."""
    found = recovered_beside_a_key(*attention(transpose_b=True), key=(2, 3, 4), floats=19)
    assert found.resolved.options.layer_attrs == {"lost": {"shape": [-1, 2, 3, 4]}}


def test_a_shape_of_rank_4_that_computes_something_else_is_asked_about() -> None:
    """Softmax takes any rank: [-1, 4, 6] normalizes as [-1, 2, 2, 6] does, [-1, 2, 3, 4] does not."""
    flat = layer("Reshape", "soft", "flat", leading_dim=24)
    message = question(lost(), layer("Softmax", "lost", "soft"), flat, fc("flat"), loss(), floats=25)
    assert "all fit the dense file's size" in message


def test_a_named_dimension_behind_the_fourth_raises_the_ranks_that_are_tried() -> None:
    clauses = reader.read({"layers": [DATA, lost(), layer("ReduceSum", "lost", "sum", axis=4)]}, REGISTRY.keys())
    assert _Part.behind(clauses.layers[0], clauses, dry_import(clauses, ResolvedOptions())).max_rank == 6


@pytest.mark.parametrize(("width", "rank", "count"), [(6, 2, 4), (6, 3, 9), (6, 4, 16)])
def test_every_shape_is_a_candidate_once(width: int, rank: int, count: int) -> None:
    """Counted by hand: 6 = 2 x 3, whose primes go to any of the dimensions behind the batch, or to the batch."""
    shapes = [shape for shape in _candidates(f32(N, width), rank) if len(shape) == rank]
    assert len(shapes) == len(set(shapes)) == count
    assert all(width % prod(shape[1:]) == 0 for shape in shapes)
