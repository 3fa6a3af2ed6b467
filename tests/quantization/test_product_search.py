"""The search for products in bytes: played with models whose losses and times are known, and on a real one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.passes.precision.quantize_products import ProductPrecision
from hugectr2onnx.quantization.budget import Budget
from hugectr2onnx.quantization.frontier import draw_frontier, on_frontier
from hugectr2onnx.quantization.metrics import Quality, Trial, rank_correlation
from hugectr2onnx.quantization.product_search import ProductSearch, Tried
from hugectr2onnx.quantization.search import compile_measured

LOSSES = {"fc1": 0.001, "fc2": 0.008, "fc3": 0.004}
"""Changes of the predictions, which add up; each layer in bytes saves 10 us. With a scale for each row half of both."""


def played(costs: Mapping[str, float] = LOSSES, saves: float = 10.0, sizes: Mapping[str, int] | None = None) -> Any:
    def build(precision: Any) -> Tried:
        wanted = precision if isinstance(precision, Mapping) else {"*": precision}
        chosen = {layer: wanted.get(layer, wanted.get("*")) for layer in LOSSES}
        widths = {**dict.fromkeys(LOSSES, 512), **(sizes or {})}
        products = [
            ProductPrecision(layer, (layer,), 512, widths[layer], each, "", 4, 1) for layer, each in chosen.items()
        ]
        parts = {"fp32": 0.0, "int8-row": 0.5, "int8": 1.0}
        change = sum(costs[layer] * parts[each] for layer, each in chosen.items())
        quality = Quality("label", 8, 0, float("nan"), float("nan"), change, change, 1.0, 0.0)
        return Tried(products, {"label": quality}, 100 - saves * sum(parts[each] for each in chosen.values()), 8)

    return build


def test_everything_that_is_within_the_budget_at_once() -> None:
    search = ProductSearch(played(), Budget.parse("max:1e-1"))
    assert search.run() == "int8"
    assert [trial.precision for trial in search.trials] == ["fp32", "int8"]


def test_the_most_sensitive_layers_go_back_first() -> None:
    search = ProductSearch(played(), Budget.parse("max:5.5e-3"))
    assert search.run() == {"*": "int8", "fc2": "fp32"}
    # All, all by row, each alone, then without the worst one.
    assert [trial.allowed for trial in search.trials] == [True, False, False, True, False, True, True]


def test_a_scale_for_each_row_is_tried_before_layers_go_back() -> None:
    search = ProductSearch(played(), Budget.parse("max:7e-3"))
    assert search.run() == "int8-row"
    assert [trial.precision for trial in search.trials] == ["fp32", "int8", "int8-row"]


def test_nothing_is_tried_twice_and_nothing_may_be_left() -> None:
    search = ProductSearch(played(), Budget.parse("max:1e-4"))
    assert search.run() == "fp32"
    spelled = [str(trial.precision) for trial in search.trials]
    assert len(spelled) == len(set(spelled))


def test_what_is_not_faster_is_not_taken_and_the_reason_is_told() -> None:
    search = ProductSearch(played(saves=-1.0), Budget.parse("max:1e-1"))
    assert search.run() == "fp32"
    assert search.why_exact == "products in bytes are within the budget, and not faster on this machine"


def test_a_layer_that_is_beyond_the_budget_alone_goes_back_however_much_it_gains() -> None:
    """fc2 has so many weights that it uses up the least for each; with it nothing is within the budget."""
    build = played({"fc1": 0.001, "fc2": 0.008, "fc3": 0.002}, sizes={"fc2": 8192})
    assert ProductSearch(build, Budget.parse("max:3.5e-3")).run() == {"*": "int8", "fc2": "fp32"}


def test_layers_that_the_caller_gave_stay() -> None:
    search = ProductSearch(played(), Budget.parse("max:1e-1"), fixed={"*": "auto", "fc3": "fp32"})
    assert search.run() == {"*": "int8", "fc3": "fp32"}


def test_a_search_ends_in_time() -> None:
    now = iter([0.0, *[1000.0] * 100])
    search = ProductSearch(played(), Budget.parse("max:5.5e-3"), clock=lambda: next(now))
    assert search.run() == "fp32"
    assert len(search.trials) == 2


def test_rank_correlation_by_hand() -> None:
    """Ranks 1, 2, 3, 4 against 2, 1, 3, 4: 1 - 6 * 2 / (4 * 15)."""
    assert rank_correlation(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 3, 4])) == pytest.approx(0.8)
    assert rank_correlation(np.array([1.0, 1]), np.array([1.0, 1])) == 1.0


def trial(microseconds: float, lost: float, allowed: bool = True) -> Trial:
    quality = Quality("label", 8, 4, 0.8 - lost, 0.4, 0.0, 0.0, 1.0, 0.0)
    return Trial("fp32", {"label": quality}, allowed, None, {"*": "int8", "<fc>": "fp32"}, microseconds, 8)


def test_the_frontier_has_what_no_other_beats_and_the_picture_all() -> None:
    trials = [trial(100, 0), trial(50, 0.01, allowed=False), trial(70, 0.02), trial(60, 0.004)]
    assert [each.microseconds for each in on_frontier(trials)] == [50, 60, 100]
    drawn = ElementTree.fromstring(draw_frontier(trials))
    circles = [each.get("fill") for each in drawn.iter("{http://www.w3.org/2000/svg}circle")]
    assert circles == ["#1f77b4", "white", "#1f77b4", "#1f77b4"]


# A real model


@pytest.fixture
def model(tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    width = 300
    layers: list[dict[str, Any]] = [
        {
            "type": "Data",
            "label": {"top": "label", "label_dim": 1},
            "dense": {"top": "dense", "dense_dim": width},
            "sparse": [],
        }
    ]
    bottom, parts, random = "dense", [], np.random.default_rng(0)
    for number, columns in enumerate((width, width, 1), 1):
        fc = {"type": "InnerProduct", "bottom": bottom, "top": f"fc{number}", "fc_param": {"num_output": columns}}
        relu = {"type": "ReLU", "bottom": f"fc{number}", "top": f"relu{number}"}
        layers += [fc, relu] if columns > 1 else [fc]
        parts += [random.normal(0, width**-0.5, (width, columns)), np.zeros(columns)]
        bottom = f"relu{number}"
    layers.append({"type": "BinaryCrossEntropyLoss", "bottom": ["fc3", "label"], "top": "loss"})
    dense = tmp_path / "m_dense_0.model"
    dense.write_bytes(b"".join(part.astype("<f4").tobytes() for part in parts))
    return {"layers": layers}, {"dense": dense}


def samples(labels: bool = False) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    given = {"dense": random.normal(size=(200, 300)).astype(np.float32)}
    return {**given, "label": random.integers(0, 2, (200, 1)).astype(np.float32)} if labels else given


def test_predictions_alone_are_enough_for_a_budget_on_predictions(model: Any) -> None:
    compiled = compile_measured(*model, samples=samples(), budget="max:2e-1,rank:90%", precision="auto", simplify=False)
    first, second, *_ = compiled.report.trials
    assert first.quality["label"].max_change == 0
    assert 0 < second.quality["label"].mean_change < second.quality["label"].max_change < 0.2
    assert second.allowed and second.microseconds and second.rows == 64
    assert compiled.report.parity is not None
    json.dumps(compiled.report.to_dict(), allow_nan=True)


def test_a_budget_that_nothing_keeps_leaves_float32(model: Any) -> None:
    compiled = compile_measured(
        *model, samples=samples(), budget="max:1e-7", precision="auto", embedding="fp32", simplify=False
    )
    assert all(each.precision == "fp32" for each in compiled.report.products)
    assert [trial.allowed for trial in compiled.report.trials] == [True, *[False] * (len(compiled.report.trials) - 1)]
    assert compiled.report.warnings == [
        "precision='auto' left all products in float32: no choice of products in bytes that was tried is within the budget"
    ]


@pytest.mark.parametrize("budget", ["max:1e-2", "rank:99%", None])
def test_samples_that_make_nan_in_float32_cannot_tell(model: Any, budget: str | None) -> None:
    given = samples()
    given["dense"][3, 5] = np.nan
    with pytest.raises(FeedError, match=r"changes of label are not defined: in float32 it is NaN or infinite for some"):
        compile_measured(*model, samples=given, budget=budget, precision="auto", simplify=False)


def test_one_sample_has_no_rank(model: Any) -> None:
    given = {"dense": samples()["dense"][:1]}
    with pytest.raises(FeedError, match="the rank correlation of label is not defined: give two samples or more"):
        compile_measured(*model, samples=given, budget="rank:99%", precision="int8", simplify=False)


def test_without_a_budget_the_labels_decide_which(model: Any) -> None:
    labelled = compile_measured(*model, samples=samples(labels=True), precision="auto", simplify=False)
    assert labelled.report.trials[0].quality["label"].auc == pytest.approx(0.5, abs=0.15)
    assert len(compile_measured(*model, samples=samples(), precision="auto", simplify=False).report.trials) >= 2


def test_a_budget_on_labels_needs_them(model: Any) -> None:
    with pytest.raises(FeedError, match="holds no labels: add one array of 0 and 1 for each of label"):
        compile_measured(*model, samples=samples(), budget="auc:99%", precision="auto", simplify=False)


def test_fixed_products_beyond_the_budget_are_told(model: Any) -> None:
    compiled = compile_measured(*model, samples=samples(), budget="max:1e-7", precision="int8", simplify=False)
    assert compiled.report.trials[0].precision == "fp32"
    assert "products in int8 are beyond the budget" in compiled.report.warnings[-1]
    compiled = compile_measured(
        *model, samples=samples(), budget="max:1e-7", precision={"fc1": "int8-row"}, simplify=False
    )
    assert "products in int8-row are beyond the budget" in compiled.report.warnings[-1]


def test_the_products_say_what_the_search_left_and_what_the_caller_gave(model: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        ProductSearch, "run", lambda self: self._try("fp32") and {"*": "int8", "fc1": "fp32", "fc2": "fp32"}
    )
    precision = {"*": "auto", "fc2": "fp32"}
    compiled = compile_measured(*model, samples=samples(), budget="max:1", precision=precision, simplify=False)
    why = {each.layers[0]: each.why for each in compiled.report.products}
    assert (why["fc1"], why["fc2"]) == ("left so by the search within the budget", "asked for")
