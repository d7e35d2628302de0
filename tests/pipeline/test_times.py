"""Times in the transform graph are those of `ctr_keras.features.times`."""

import numpy as np
import pytest
import tensorflow as tf

from ctr_keras.features.times import read_time
from pipeline.times import read_times
from tests.features.test_times import AMBIGUOUS, NO_TIMES, TIMES


def spellings() -> list[str]:
    """Every spelling and non-spelling of the tests of times, and others with something changed."""
    values = [*(value for value, _ in (*TIMES, *AMBIGUOUS)), *NO_TIMES]
    draw = np.random.default_rng(0)
    for value in values * 30:
        if value:
            place = draw.integers(len(value))
            values.append(
                value[:place] + draw.choice([*"0123456789-:.TZ+ e/"]) + value[place + 1 :]
            )
    numbers = (draw.integers(low, high, 500) for low, high in ((10**7, 10**8), (10**8, 4 * 10**9)))
    return [*values, *(str(number) for of_range in numbers for number in of_range)]


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_the_graph_reads_times_as_python_does(zone):
    values = spellings()
    columns = [tensor.numpy().tolist() for tensor in read_times(tf.constant(values), zone)]
    read = {
        value: (seconds, has_hour) if is_time else None
        for value, seconds, is_time, has_hour in zip(values, *columns, strict=True)
    }
    assert read == {value: read_time(value, zone) for value in values}
    assert sum(time is not None for time in read.values()) > 500
