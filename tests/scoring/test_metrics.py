"""Metrics have the values of scikit-learn, batch by batch, with ties and in bounded memory."""

from __future__ import annotations

import numpy as np
import pytest

from hugectr2onnx.errors import FeedError
from hugectr2onnx.scoring.grouped import GroupedCounter, hit_rate, ndcg
from hugectr2onnx.scoring.metrics import METRICS, Metrics, check_metrics
from hugectr2onnx.scoring.ranking import RankingCounter

sklearn = pytest.importorskip("sklearn.metrics")


def sample(rows: int, ties: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (rng.random(rows) < 0.3).astype(np.float32)
    predictions = np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0.001, 0.999).astype(np.float32)
    return (np.round(predictions * ties) / ties).astype(np.float32) if ties else predictions, labels


def scored(predictions: np.ndarray, labels: np.ndarray, batch: int = 97) -> dict[str, float]:
    metrics = Metrics()
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        metrics.add({"label": predictions[part, None]}, {"label": labels[part, None]})
    return metrics.scores()["label"]


@pytest.mark.parametrize("ties", [0, 10, 2])
def test_ranking_is_scikit_learn_s(ties: int) -> None:
    predictions, labels = sample(5000, ties)
    found = scored(predictions, labels)
    assert found["auc"] == pytest.approx(sklearn.roc_auc_score(labels, predictions), abs=1e-12)
    assert found["average_precision"] == pytest.approx(sklearn.average_precision_score(labels, predictions), abs=1e-12)


def test_the_others_are_scikit_learn_s() -> None:
    predictions, labels = sample(5000, 0)
    found = scored(predictions, labels)
    loss = sklearn.log_loss(labels, predictions.astype(np.float64))
    base = np.full(len(labels), labels.mean(dtype=np.float64))
    assert found["logloss"] == pytest.approx(loss, rel=1e-12)
    assert found["normalized_entropy"] == pytest.approx(loss / sklearn.log_loss(labels, base), rel=1e-9)
    assert found["calibration"] == pytest.approx(predictions.sum(dtype=np.float64) / labels.sum(), rel=1e-12)
    assert found["accuracy"] == sklearn.accuracy_score(labels, predictions > 0.5)


@pytest.mark.parametrize("run_samples", [1, 7, 100, 10_000])
def test_sorted_runs_on_disk_give_the_same_ranking(run_samples: int) -> None:
    predictions, labels = sample(1000, 20, seed=3)
    counter = RankingCounter(run_samples)
    for start in range(0, 1000, 13):
        counter.add(predictions[start : start + 13], labels[start : start + 13])
    assert counter.result().auc == pytest.approx(sklearn.roc_auc_score(labels, predictions), abs=1e-12)


def test_predictions_of_exactly_0_and_1_have_a_finite_loss() -> None:
    assert scored(np.array([0, 1, 1], np.float32), np.array([0, 1, 0], np.float32))["logloss"] == pytest.approx(
        -np.log(np.finfo(np.float32).eps) / 3, rel=1e-6
    )


def test_one_class_has_no_auc() -> None:
    found = scored(np.array([0.2, 0.4], np.float32), np.zeros(2, np.float32))
    assert np.isnan(found["auc"])
    assert np.isnan(found["calibration"])


def test_a_nan_among_the_predictions_is_not_passed_over() -> None:
    found = scored(np.array([0.2, np.nan], np.float32), np.array([0, 1], np.float32))
    assert np.isnan([found["auc"], found["logloss"]]).all()


def test_labels_other_than_0_and_1_are_refused() -> None:
    with pytest.raises(FeedError, match=r"label has the label 0\.5; metrics need 0 and 1"):
        scored(np.array([0.2], np.float32), np.array([0.5], np.float32))


def test_a_label_of_several_columns_is_scored_column_by_column() -> None:
    metrics = Metrics(("accuracy",))
    metrics.add({"y": np.array([[0.9, 0.9]], np.float32)}, {"y": np.array([[1, 0]], np.float32)})
    assert metrics.scores() == {"y[0]": {"accuracy": 1.0}, "y[1]": {"accuracy": 0.0}}


def test_an_unknown_metric_is_refused_with_those_there_are() -> None:
    with pytest.raises(FeedError, match=r"there is no metric 'ndcg'; there are auc, .*ndcg@K"):
        check_metrics(["ndcg"])
    assert len(METRICS) == 8


class TestGroups:
    def test_ndcg_is_scikit_learn_s(self) -> None:
        rng = np.random.default_rng(1)
        for size in (3, 20, 100):
            predictions = np.round(rng.random(size), 1).astype(np.float32)
            labels = (rng.random(size) < 0.3).astype(np.float32)
            labels[0] = 1
            expected = sklearn.ndcg_score([labels], [predictions], k=10)
            assert ndcg(predictions, labels, 10) == pytest.approx(expected, abs=1e-9)

    def test_a_hit_is_a_positive_among_the_first_k(self) -> None:
        predictions = np.array([0.9, 0.8, 0.7, 0.1], np.float32)
        assert hit_rate(predictions, np.array([0, 0, 1, 0], np.float32), 2) == 0.0
        assert hit_rate(predictions, np.array([0, 0, 1, 0], np.float32), 3) == 1.0

    def test_equals_at_the_border_share_the_hit(self) -> None:
        predictions = np.array([0.9, 0.5, 0.5, 0.5], np.float32)
        assert hit_rate(predictions, np.array([0, 1, 0, 0], np.float32), 2) == pytest.approx(1 / 3)

    def test_groups_may_straddle_batches(self) -> None:
        counter = GroupedCounter(["hitrate@1"])
        counter.add(np.array([0.9, 0.1]), np.array([0.0, 0.0]), np.array([7, 7]))
        counter.add(np.array([0.5, 0.8]), np.array([1.0, 1.0]), np.array([7, 8]))
        assert counter.scores() == {"hitrate@1": 0.5}

    def test_a_group_that_comes_back_is_refused(self) -> None:
        counter = GroupedCounter(["hitrate@1"])
        with pytest.raises(FeedError, match="the samples of group 7 do not follow one another"):
            counter.add(np.zeros(3), np.ones(3), np.array([7, 8, 7]))


def test_groups_may_be_text() -> None:
    counter = GroupedCounter(["hitrate@1"])
    counter.add(np.array([0.9, 0.1, 0.2, 0.8]), np.array([1, 0, 1, 0]), np.array(["u1", "u1", "u2", "u2"], object))
    assert counter.scores() == {"hitrate@1": 0.5}


def test_a_rank_is_of_plain_digits() -> None:
    with pytest.raises(FeedError, match="there is no metric 'ndcg@²'"):
        check_metrics(["ndcg@²"])
