"""Models of a user's history: attention to what resembles the target (NVIDIA's samples/din and samples/bst)."""

from __future__ import annotations

from hugectr2onnx.sample_models.builder import ModelBuilder, SparseParam
from hugectr2onnx.sample_models.size import Size

USERS, GOODS, CATEGORIES = 192_403, 63_001, 801


def din(size: Size) -> ModelBuilder:
    """Return the last slot of goods and categories is the target; the attention's perceptron scores each pair with it."""
    history, vec = size.width(10, 4), size.width(18, 4)
    model = ModelBuilder(
        SparseParam("UserID", 1), SparseParam("GoodID", history + 1), SparseParam("CateID", history + 1)
    )
    for name, rows in (("user", USERS), ("good", GOODS), ("cate", CATEGORIES)):
        top = f"sparse_embedding_{name}"
        model.embedding(f"{name.capitalize()}ID", top, vec, size.rows(top, rows), keys="ids")
    _attend(model, history, 2 * vec, size.width(40, 16))
    model.reshape("sparse_embedding_user", "reshape_user", vec)
    model.concat(["reshape_user", "reshape_reduce_item_his", "reduce_ih", "FusedReshapeConcat_item"], "concat_din_i")
    last = _dice_layers(model, "concat_din_i", "fc_din_i", [size.width(200, 16), size.width(80, 8)])
    model.fc(last, "fc3", 1)
    model.loss("fc3")
    return model


def _attend(model: ModelBuilder, history: int, width: int, hidden: int) -> None:
    """`reduce_ih`, the history weighted by its score, and `reshape_reduce_item_his`, its mean."""
    past, target = "FusedReshapeConcat_item_his_em", "FusedReshapeConcat_item"
    model.add("FusedReshapeConcat", ["sparse_embedding_good", "sparse_embedding_cate"], [past, target])
    model.add("Scale", target, "Scale_item", scale_param={"axis": 1, "factor": float(history)})
    model.add("Sub", ["Scale_item", past], "sub_ih")
    model.add("ElementwiseMultiply", ["Scale_item", past], "ElementwiseMul_i")
    model.concat(["Scale_item", past, "sub_ih", "ElementwiseMul_i"], "concat_i_h")
    model.fc("concat_i_h", "fc_att_i2", hidden)
    model.fc("fc_att_i2", "fc_att_i3", 1)
    model.reshape("fc_att_i3", "reshape_score", history)
    model.add("Softmax", "reshape_score", "softmax_att_i", factor=1.0)
    model.add("Scale", "softmax_att_i", "Scale_i", scale_param={"axis": 0, "factor": float(width)})
    model.reshape(past, "reshape_item_his", history * width)
    model.add("ElementwiseMultiply", ["Scale_i", "reshape_item_his"], "ElementwiseMul_ih")
    model.reshape("ElementwiseMul_ih", "reshape_ih", width, time_step=history)
    model.add("ReduceSum", "reshape_ih", "reduce_sum_ih", axis=1)
    model.reshape("reduce_sum_ih", "reduce_ih", width)
    model.reshape(past, "reshape_his", width, time_step=history)
    model.add("ReduceMean", "reshape_his", "reduce_item_his", axis=1)
    model.reshape("reduce_item_his", "reshape_reduce_item_his", width)


def bst(size: Size) -> ModelBuilder:
    """Return a transformer over the history; `dense` is the length of the history."""
    history, vec, hidden = size.width(10, 5), size.width(16, 4), size.width(32, 8)
    inputs = {"UserID": 1, "GoodID": history, "Target_Good": 1, "CateID": history, "Target_Cate": 1}
    model = ModelBuilder(*(SparseParam(top, slots) for top, slots in inputs.items()), dense=1)
    for top, bottom, width, rows in (
        ("user", "UserID", size.width(18, 6), USERS),
        ("good", "GoodID", vec, GOODS),
        ("item_good", "Target_Good", vec, GOODS),
        ("cate", "CateID", vec, CATEGORIES),
        ("item_cate", "Target_Cate", vec, CATEGORIES),
    ):
        name = f"sparse_embedding_{top}"
        model.embedding(bottom, name, width, size.rows(name, rows), keys="ids")
    _transform(model, history, hidden, size.width(4, 2))
    model.reshape("attention_ffn_layer_norm", "reshape_attention_out", history * hidden)
    model.reshape("sparse_embedding_user", "reshape_user", size.width(18, 6))
    model.reshape("sparse_embedding_item_good", "reshape_item_good", vec)
    model.reshape("sparse_embedding_item_cate", "reshape_item_cate", vec)
    model.concat(["reshape_attention_out", "reshape_user", "reshape_item_good", "reshape_item_cate"], "dnn_input")
    last = _dice_layers(model, "dnn_input", "fc_bst_i", [size.width(width, 8) for width in (256, 128, 64)])
    model.fc(last, "fc_bst_i4", 1)
    model.loss("fc_bst_i4")
    return model


def _transform(model: ModelBuilder, history: int, hidden: int, heads: int) -> None:
    """Add one transformer block over the embedded history [N, history, hidden] -> `attention_ffn_layer_norm`."""
    lengths = {"max_sequence_len_from": history, "max_sequence_len_to": history}
    model.add("SequenceMask", ["dense", "dense"], "sequence_mask", **lengths)
    model.concat(["sparse_embedding_cate", "sparse_embedding_good"], "hist_emb_list", axis=2)
    operands = [model.fc("hist_emb_list", f"{name}_emb", hidden) for name in ("query", "key", "value")]
    attention = {"num_attention_heads": heads, "transpose_b": False}
    model.add("MultiHeadAttention", [*operands, "sequence_mask"], "attention_out", **attention)
    model.add("Add", ["attention_out", "query_emb"], "attention_add_shortcut")
    model.add("LayerNorm", "attention_add_shortcut", "attention_layer_norm", ln_param={"eps": 1e-5})
    model.fc("attention_layer_norm", "attention_ffn1", 4 * hidden)
    model.fc("attention_ffn1", "attention_ffn2", hidden)
    model.add("Add", ["attention_ffn2", "attention_layer_norm"], "attention_ffn_shortcut")
    model.add("LayerNorm", "attention_ffn_shortcut", "attention_ffn_layer_norm", ln_param={"eps": 1e-5})


def _dice_layers(model: ModelBuilder, bottom: str, prefix: str, widths: list[int]) -> str:
    for number, width in enumerate(widths, start=1):
        model.fc(bottom, f"{prefix}{number}", width)
        dice = {"alpha": 0.2, "eps": 1e-8}
        bottom = model.add("PReLU_Dice", f"{prefix}{number}", f"dice_{number}", prelu_dice_param=dice)
    return bottom
