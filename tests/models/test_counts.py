"""Parameters of models to the unit, as papers and the benchmark BARS print them."""

import pytest

from ctr_keras import models
from tests.models.sizes import feature_set, parameter_count

FRAPPE = feature_set(10, ids=5389)
CRITEO = feature_set(39, ids=910_708)  # of BARS' split x4_001: its FM has 15,482,037
PADDED = feature_set(39, ids=910_708 + 39)
DEEP = {"hidden": (400, 400, 400), "normalization": None}
NORMALIZED = {"hidden": (400, 400, 400), "norm_order": "before"}
LARGE = {"hidden": (1000,) * 5, "norm_order": "before"}
AFN = {"neurons": 1000, "hidden": [400], "normalization": None}
DESTINE = {"layers": 4, "units": 128, "heads": 1}
STREAMS = {"first_hidden": (1000,) * 5, "second_hidden": [500]}
FINAL_MLP = {**STREAMS, "heads": 50, "normalization": None}
FINAL_NET = {"first_hidden": (1000,) * 3, "second_hidden": [512]}
MASKS = {"ratio": 0.1, "block_normalization": False, "hidden": (1000,) * 5, "normalization": None}
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
        ("WideDeep", {"dim": 10, **NORMALIZED}, 423_280),
        ("CrossNet", {"dim": 10, "layers": 6}, 55_191),
        ("DCN", {"dim": 10, "layers": 3, **NORMALIZED}, 418_591),
        ("DCNv2", {"dim": 10, "layers": 4, **NORMALIZED}, 458_391),
        ("AFN", {"dim": 10, **AFN}, 4_066_711),
        ("AFN", {"dim": 10, "deep_hidden": (400,) * 3, **AFN}, 4_482_205),
        ("AOANet", {"dim": 10, "vectors": 2, **NORMALIZED}, 418_331),
        ("EDCN", {"dim": 10, "layers": 3}, 86_351),
        ("MaskNet", {"dim": 10, "block_units": 50, **DEEP}, 571_691),
        # There without a linear logit, and with biases that attention comes to nothing of.
        ("DESTINE", {"dim": 10, **DESTINE, **NORMALIZED}, 623_346 + 5389 - 1 - 4 * 257),
        # FuxiCTR 1 has the same matrix for fields as they are and reweighed.
        ("FiBiNET", {"dim": 10, "reduction": 2, **NORMALIZED}, 743_480 + 100),
        # Votes have a bias here.
        ("FiGNN", {"dim": 10, "steps": 17, "recurrent": False}, 89_090 + 1),
        # FuxiCTR's maps have a bias, its sum of maps, too.
        ("xDeepFM", {"dim": 10, "maps": [64], **NORMALIZED}, 429_809 - 64 - 1),
    ],
)
def test_parameter_counts_of_bars_on_frappe(name, arguments, count):
    assert parameter_count(getattr(models, name), FRAPPE, **arguments) == count


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("FM", {"dim": 16}, 15_482_037),
        ("FwFM", {"dim": 16}, 15_482_778),
        ("CrossNet", {"dim": 16, "layers": 8}, 14_581_937),
    ],
)
def test_parameter_counts_of_bars_on_criteo(name, arguments, count):
    assert parameter_count(getattr(models, name), CRITEO, **arguments) == count


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("DCNv2", {"dim": 16, "layers": 3, **LARGE}, 20_382_577),
        # Without the second of two biases that are added up.
        ("FinalMLP", {"dim": 16, **FINAL_MLP}, 19_524_954 - 1),
        ("MaskNet", {"dim": 16, "blocks": 2, "block_units": 500, **MASKS}, 20_358_077),
        # Without gates, which double the width of the first tower, and the second bias.
        ("FinalNet", {"dim": 16, **FINAL_NET}, 18_153_050 - 1560 - 624_000 - 1),
    ],
)
def test_parameter_counts_of_bars_newer_runs_on_criteo(name, arguments, count):
    """Those of FuxiCTR 2 have a row more for each field."""
    assert parameter_count(getattr(models, name), PADDED, **arguments) == count


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("NFM", {"hidden": [200], "normalization": None}, 3_601),
        ("DeepCrossing", {"hidden": [100] * 4, "normalization": None}, 155_301),
        ("CrossNet", {"layers": 3}, 3_744 + 625),
        ("CIN", {"maps": [200] * 3}, 1_864_200 + 401),
    ],
)
def test_parameter_counts_of_autoints_baselines(name, arguments, count):
    """Table 3 of AutoInt counts neither embeddings nor weights of the linear logit."""
    whole = parameter_count(getattr(models, name), _AUTOINTS, dim=16, **arguments)
    linear = 100 if name in ("NFM",) else 0
    assert whole - 100 * 16 - linear == count


@pytest.mark.parametrize(
    ("ids", "fields", "dim", "hidden", "millions"),
    [(514_798, 39, 20, (700,) * 5, 17.37), (1_228_795, 24, 40, (500,) * 5, 52.72)],
)
def test_parameter_counts_of_optinters_pin(ids, fields, dim, hidden, millions):
    features = feature_set(fields, ids=ids)
    options = {"hidden": hidden, "normalization": "layer", "norm_order": "before"}
    assert round(parameter_count(models.PIN, features, dim, **options) / 1e6, 2) == millions
