"""Parameters of models to the unit, as papers and the benchmark BARS print them."""

import pytest

from ctr_keras import models
from tests.models.sizes import feature_set, parameter_count

FRAPPE = feature_set(10, ids=5389)
CRITEO = feature_set(39, ids=910_708)  # of BARS' split x4_001: its FM has 15,482,037
DEEP = {"hidden": (400, 400, 400), "normalization": None}
NORMALIZED = {"hidden": (400, 400, 400), "norm_order": "before"}
_AUTOINTS = feature_set(39, ids=100)  # its figures are without the tables


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("LR", {}, 5390),
        ("FM", {"dim": 10}, 59_280),
        ("FmFM", {"dim": 10, "kernel": "vector"}, 59_730),
        ("HOFM", {"dim": 10, "order": 3}, 113_170),
        ("AFM", {"dim": 10, "attention_units": 128}, 60_826),
        ("NFM", {"dim": 10, **DEEP}, 384_880),
        ("DeepFM", {"dim": 10, **NORMALIZED}, 423_280),
        ("IPNN", {"dim": 10, **DEEP}, 433_491),
    ],
)
def test_parameter_counts_of_bars_on_frappe(name, arguments, count):
    assert parameter_count(getattr(models, name), FRAPPE, **arguments) == count


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("FM", {"dim": 16}, 15_482_037),
        ("FwFM", {"dim": 16}, 15_482_778),
    ],
)
def test_parameter_counts_of_bars_on_criteo(name, arguments, count):
    assert parameter_count(getattr(models, name), CRITEO, **arguments) == count


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("NFM", {"hidden": [200], "normalization": None}, 3_601),
    ],
)
def test_parameter_counts_of_autoints_baselines(name, arguments, count):
    """Table 3 of AutoInt counts neither embeddings nor weights of the linear logit."""
    whole = parameter_count(getattr(models, name), _AUTOINTS, dim=16, **arguments)
    linear = 100 if name in ("NFM",) else 0
    assert whole - 100 * 16 - linear == count
