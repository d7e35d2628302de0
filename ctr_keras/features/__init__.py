"""Which columns a model sees, declared once.

A `FeatureSet` is read by every other part of the library: the pipeline derives its transform from
it, the models their inputs and embedding tables, the export its signature, the plots their names.
It packs data frames itself: `fit`, `pack` and `labels` need neither Beam nor TensorFlow.
"""

from ctr_keras.features.declarations import (
    FEATURE_KINDS,
    GROUP,
    PACKED_INPUTS,
    Categorical,
    Crossed,
    Feature,
    Label,
    MultiValued,
    Numeric,
    Sequence,
    feature_from_dict,
)
from ctr_keras.features.feature_set import FeatureSet
from ctr_keras.features.layout import Vocabulary
from ctr_keras.features.statistics import Statistics

__all__ = [
    "FEATURE_KINDS",
    "GROUP",
    "PACKED_INPUTS",
    "Categorical",
    "Crossed",
    "Feature",
    "FeatureSet",
    "Label",
    "MultiValued",
    "Numeric",
    "Sequence",
    "Statistics",
    "Vocabulary",
    "feature_from_dict",
]
