"""Keras 3 layers and models for click-through-rate prediction."""

from ctr_keras.version import __version__

__all__ = ["__version__"]
