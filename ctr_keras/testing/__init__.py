"""What every layer must hold, as one test to call; for this library's layers and for yours."""

from ctr_keras.testing.layers import run_layer_test

__all__ = ["run_layer_test"]
