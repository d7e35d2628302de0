"""A transform graph whose vocabularies have grown: the same graph with more lines in its vocabulary
file.

The graph finds out where a vocabulary starts from the file (see `vocabulary.py`), so it needs no
other change. Values are counted by `ctr_keras.features.packing`, which agrees with the graph.
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence

import apache_beam as beam
import numpy as np
import pyarrow as pa

from ctr_keras.features import FeatureSet, Vocabulary
from ctr_keras.features.packing import count
from ctr_keras.features.statistics import Numbers
from ctr_keras.files import copy_file, files_below, open_input, open_output
from ctr_keras.types import Array
from pipeline.batches import column_values
from pipeline.vocabulary import FILE_NAME, frequent_keys, in_order


@beam.ptransform_fn
def grow_transform(
    rows: beam.PCollection, features: FeatureSet, numbers: Numbers, earlier: str, grown: str
) -> beam.PCollection:
    """Training rows as record batches in; out the path `grown`, once the transform graph in
    `earlier` has been copied there with the values appended that are new and frequent in them."""
    vocabularies = features.vocabularies
    kept = rows | beam.ParDo(_Count(features, numbers)) | frequent_keys(vocabularies)
    once = rows.pipeline | "GrowOnce" >> beam.Create([grown])
    return once | beam.Map(_write_grown, earlier, vocabularies, beam.pvalue.AsIter(kept))


class _Count(beam.DoFn):
    """Record batches in, (distinct keys, counts) as `frequent_keys` takes them out."""

    def __init__(self, features: FeatureSet, numbers: Numbers):
        self._features, self._numbers = features, numbers

    def process(self, batch: pa.RecordBatch) -> Iterator[tuple[Array, Array]]:
        frame = {name: column_values(batch, name) for name in self._features.raw_columns}
        for name, counts in count(self._features, self._numbers, frame).items():
            keys = [f"{name}={value}".encode() for value in counts]
            yield np.array(keys, object), np.array([*counts.values()], np.int64)


def _write_grown(
    grown: str,
    earlier: str,
    vocabularies: Sequence[Vocabulary],
    kept: Iterable[pa.RecordBatch],
) -> str:
    for file in files_below(earlier):
        copied = os.path.join(grown, os.path.relpath(file.path, earlier))
        if os.path.basename(copied) == FILE_NAME:
            append_keys(file.path, copied, vocabularies, in_order(kept, len(vocabularies)))
        else:
            copy_file(file.path, copied)
    return grown


def append_keys(
    earlier: str, grown: str, vocabularies: Sequence[Vocabulary], keys: Sequence[Iterable[bytes]]
) -> None:
    """Copies a vocabulary file, and appends to each vocabulary those of its keys that are new."""
    new = [dict.fromkeys(of_vocabulary) for of_vocabulary in keys]
    with open_input(earlier) as file:
        sizes = json.loads(file.readline())
        for vocabulary, of_vocabulary in zip(vocabularies, new, strict=True):
            file.readline()  # its name
            for line in itertools.islice(file, sizes.get(vocabulary.name, 0)):
                of_vocabulary.pop(line.removesuffix(b"\n"), None)
    by_name = {v.name: of_v for v, of_v in zip(vocabularies, new, strict=True)}
    header = {name: size + len(by_name[name]) for name, size in sizes.items()}
    with open_input(earlier) as file, open_output(grown) as copy:
        file.readline()
        copy.write(json.dumps(header).encode() + b"\n")
        for name, of_vocabulary in by_name.items():
            copy.writelines(itertools.islice(file, 1 + sizes.get(name, 0)))
            copy.writelines(key + b"\n" for key in of_vocabulary)
