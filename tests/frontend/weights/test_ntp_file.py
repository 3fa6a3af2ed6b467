"""The ntp file: the text that C++ prints, its six decimals, its nan."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugectr2onnx.errors import HugeCTR2ONNXError, WeightsError
from hugectr2onnx.frontend.weights.ntp_file import BatchNormStatistics, read_ntp

# Layers 2.2, as HugeCTR indents it.
WRITTEN = """{
  "layers": [
    {
      "type": "BatchNorm",
      "mean": [0.123456, -1.000000],
      "var": [1.500000, 0.250000]
    }
  ]
}"""


def read_text(folder: Path, text: str) -> tuple[BatchNormStatistics, ...]:
    (folder / "ntp.json").write_text(text)
    return read_ntp(folder / "ntp.json")


class TestReadNtp:
    def test_the_example_of_the_specification(self, tmp_path: Path) -> None:
        (entry,) = read_text(tmp_path, WRITTEN)
        assert entry.mean.tolist() == pytest.approx([0.123456, -1.0])
        assert entry.var.tolist() == [1.5, 0.25]

    def test_no_batch_norm_at_all(self, tmp_path: Path) -> None:
        assert read_text(tmp_path, '{"layers": []}') == ()

    @pytest.mark.parametrize("token", ["nan", "-nan", "inf", "-inf", "NaN", "-Infinity"])
    def test_what_c_prints_for_a_diverged_run(self, tmp_path: Path, token: str) -> None:
        with pytest.raises(WeightsError, match=r"layers\[0\].mean\[0\]: is .*diverged"):
            read_text(tmp_path, WRITTEN.replace("0.123456", token))

    def test_the_word_nan_inside_a_string_is_text(self, tmp_path: Path) -> None:
        assert len(read_text(tmp_path, WRITTEN.replace('"var"', '"note": "nan inf", "var"'))) == 1

    def test_a_negative_variance(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"layers\[0\].var\[0\]: is -1.5; a variance is never negative"):
            read_text(tmp_path, WRITTEN.replace("1.500000", "-1.500000"))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("[0.123456, -1.000000]", "[0.1]", "1 means but 2 variances"),
            ("[0.123456, -1.000000]", "3", r"layers\[0\].mean: expected a list, found 3"),
            ("0.123456", '"x"', r"layers\[0\].mean\[0\]: expected a number"),
            ("0.123456", "1e300", "is inf"),
            ("BatchNorm", "LayerNorm", 'expected "BatchNorm", found the string "LayerNorm"'),
            ('"layers"', '"layer"', "layers: is missing"),
            ("}\n  ]\n}", "", "truncated"),
        ],
    )
    def test_what_is_refused(self, tmp_path: Path, old: str, new: str, message: str) -> None:
        with pytest.raises(WeightsError, match=message):
            read_text(tmp_path, WRITTEN.replace(old, new))

    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="no such file"):
            read_ntp(tmp_path / "absent")


class TestFeatures:
    DOUBLED = '{"layers": [{"type": "BatchNorm", "mean": [1.0, 2.0, nan, -5.0], "var": [3.0, 4.0, -1.0, inf]}]}'

    def test_the_exact_length(self, tmp_path: Path) -> None:
        assert read_text(tmp_path, WRITTEN)[0].features(2).var.tolist() == [1.5, 0.25]

    def test_float16_runs_write_twice_the_length_and_the_rest_is_garbage(self, tmp_path: Path) -> None:
        half = read_text(tmp_path, self.DOUBLED)[0].features(2)
        assert (half.mean.tolist(), half.var.tolist()) == ([1, 2], [3, 4])

    def test_the_same_list_is_judged_where_all_of_it_counts(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"mean\[2\]: is nan"):
            read_text(tmp_path, self.DOUBLED)[0].features(4)

    def test_another_length(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match="has 2 means and variances, the layer has 3 features"):
            read_text(tmp_path, WRITTEN)[0].features(3)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, len(WRITTEN)), inserted=st.binary(max_size=6), removed=st.integers(0, 20))
def test_any_bytes_give_statistics_or_our_error(tmp_path: Path, at: int, inserted: bytes, removed: int) -> None:
    text = WRITTEN.encode()
    (tmp_path / "ntp.json").write_bytes(text[:at] + inserted + text[at + removed :])
    try:
        for entry in read_ntp(tmp_path / "ntp.json"):
            entry.features(2)
    except HugeCTR2ONNXError:
        pass
