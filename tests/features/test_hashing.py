"""FarmHash's fingerprint: test vectors, and TensorFlow's op on strings of every length."""

import numpy as np
import pytest

from ctr_keras.features.hashing import fingerprints, hash_buckets

VECTORS = {  # by TensorFlow's `tf.fingerprint`, as numbers
    "": 0x9AE16A3B2F90404F,
    "a": 0xB3454265B6DF75E3,
    "abc": 0x24A5B3A074E7F369,
}


@pytest.mark.parametrize("value", VECTORS)
def test_vectors(value):
    assert fingerprints([value]).tolist() == [VECTORS[value]]


def test_no_strings():
    assert hash_buckets([], 5).shape == (0,)


def test_strings_of_every_length_are_hashed_as_tensorflow_hashes_them():
    tf = pytest.importorskip("tensorflow")
    draw = np.random.default_rng(0)
    values = [
        "".join(map(chr, draw.integers(1, 0x3000 if length % 3 == 0 else 127, length)))
        for length in [*range(260), 1000, 5000]
    ]
    draw.shuffle(values)
    expected = tf.strings.to_hash_bucket_fast(values, 2**31 - 1)
    np.testing.assert_array_equal(hash_buckets(values, 2**31 - 1), expected)
    np.testing.assert_array_equal(hash_buckets(values, 7), expected % 7)
    bytes_of = tf.fingerprint([value.encode() for value in values]).numpy()
    np.testing.assert_array_equal(fingerprints(values), bytes_of.copy().view("<u8")[:, 0])
