"""Whatever a request holds, an exported model looks up ids of the right field: they come from its
own transform, and no signature takes ids from outside."""

import numpy as np
import tensorflow as tf

from ctr_keras.features import FeatureSet
from ctr_keras.layers import FieldEmbedding

STRINGS = ["", "u3", "i7", "phone", "-1", "0", "99999999999", "1e400", "nan", "a b", "None"]
STRINGS += ["drama|drama|x|y", "i1 i2 i3 i4 i5", "\x1f", "µ€ 猫", "x" * 10_000, "\n", "user=u3"]
NUMBERS = [0.0, -1.0, 1e6, -1e6, np.nan, np.inf, -np.inf, 2.0**31, 1e-40]


def test_no_request_leads_to_an_id_that_is_not_of_its_field(clicks, autoint):
    features = FeatureSet.load(clicks / "features.json")
    draw = np.random.default_rng(0)
    values = {"string": np.array(STRINGS, object), "float": np.array(NUMBERS, "float32")}
    raw = {
        name: tf.constant(draw.choice(values[kind], 500))
        for name, kind in features.raw_columns.items()
    }
    loaded = tf.saved_model.load(str(autoint.version))
    for name, signature in loaded.signatures.items():
        taken = signature.structured_input_signature[1]
        assert set(taken) in ({"examples"}, set(features.raw_columns)), name
    packed = loaded.signatures["transform_features"](**raw)
    checks = FieldEmbedding(features, 1, sequences=["history"]).input_checks
    assert {check.name for check in checks} == set(packed)
    for check in checks:
        check.check(packed[check.name].numpy())
    assert np.isfinite(packed["numeric"]).all()
    assert np.isfinite(loaded.signatures["serving_default"](**raw)["score"]).all()
