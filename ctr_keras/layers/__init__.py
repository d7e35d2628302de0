"""Layers for click-through-rate models, each usable alone on plain tensors."""

from ctr_keras.layers.field_embedding import FieldEmbedding
from ctr_keras.layers.inputs import feature_inputs
from ctr_keras.layers.interacting import InteractingLayer
from ctr_keras.layers.mlp import MLP

__all__ = ["MLP", "FieldEmbedding", "InteractingLayer", "feature_inputs"]
