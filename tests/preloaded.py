"""What processes of tests are forked from has imported, for good: none looks through it again."""

import gc

gc.disable()

import ctr_keras.cli  # noqa: E402
import ctr_keras.training  # noqa: E402, F401
import serving.server.server  # noqa: E402, F401

gc.freeze()
gc.enable()
