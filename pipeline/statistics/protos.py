"""Statistics and a schema in the formats of TensorFlow Data Validation, whose tools read them."""

from collections.abc import Mapping
from typing import Any

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline.statistics import labels_of
from pipeline.statistics.summary import TOP

STATISTICS_FILE, SCHEMA_FILE = "statistics.pb", "schema.pbtxt"


def to_statistics(summary: Mapping[str, Any]) -> bytes:
    """A serialized `DatasetFeatureStatisticsList` with a data set for each split that has rows."""
    datasets = statistics_pb2.DatasetFeatureStatisticsList()
    for split, rows in summary["splits"].items():
        if rows["rows"]:
            dataset = datasets.datasets.add(name=split, num_examples=rows["rows"])
            for label, of in labels_of(summary).items():
                _add_label(dataset, label, rows["rows"], of["splits"][split]["click_rate"])
            for name, feature in summary["features"].items():
                _add_feature(dataset, name, feature, split)
    return bytes(datasets.SerializeToString(deterministic=True))


def _add_label(dataset: Any, label: str, rows: int, rate: float) -> None:
    added = dataset.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    added.path.step.append(label)
    numbers = added.num_stats
    _fill_common(numbers.common_stats, rows, 0)
    numbers.mean, numbers.std_dev = rate, (rate * (1 - rate)) ** 0.5
    numbers.max, numbers.num_zeros = 1.0, round(rows * (1 - rate))


def _add_feature(dataset: Any, name: str, feature: Mapping[str, Any], split: str) -> None:
    found = feature["splits"][split]
    is_number = feature["kind"] == "numeric"
    kinds = statistics_pb2.FeatureNameStatistics
    added = dataset.features.add(type=kinds.FLOAT if is_number else kinds.STRING)
    added.path.step.append(name)
    if is_number:
        _fill_numbers(added.num_stats, feature, found, split)
    else:
        _fill_strings(added.string_stats, feature, found, split)
    if split == "train":
        information = feature["information"]
        added.custom_stats.add(name="mutual_information", num=information["nats"])


def _fill_common(common: Any, rows: int, missing: int, length: float = 1.0) -> None:
    common.num_missing, common.num_non_missing = missing, rows - missing
    common.min_num_values = common.max_num_values = 1
    common.avg_num_values = length
    common.tot_num_values = round((rows - missing) * length)


def _fill_numbers(
    numbers: Any, feature: Mapping[str, Any], found: Mapping[str, Any], split: str
) -> None:
    _fill_common(numbers.common_stats, found["rows"], found["missing"])
    if "mean" not in found:
        return
    numbers.mean, numbers.std_dev = found["mean"], found["deviation"]
    numbers.min, numbers.max, numbers.num_zeros = found["low"], found["high"], found["zeros"]
    numbers.median = found["quantiles"]["0.5"]
    # Of as many training rows each, and the same for all splits.
    histogram = numbers.histograms.add(type=statistics_pb2.Histogram.QUANTILES)
    histogram.num_nan = 0
    for bucket in feature["values"]:
        histogram.buckets.add(
            low_value=bucket["low"], high_value=bucket["high"], sample_count=bucket["rows"][split]
        )


def _fill_strings(
    strings: Any, feature: Mapping[str, Any], found: Mapping[str, Any], split: str
) -> None:
    length = found.get("length")
    _fill_common(
        strings.common_stats, found["rows"], found["missing"], *([length["mean"]] if length else [])
    )
    if length:
        common = strings.common_stats
        common.min_num_values, common.max_num_values = int(length["low"]), int(length["high"])
    strings.unique = found["distinct"]
    values = sorted(feature["values"], key=lambda value: -value["rows"][split])
    for rank, value in enumerate(value for value in values if value["rows"][split]):
        rows = value["rows"][split]
        strings.top_values.add(value=value["value"], frequency=rows)
        strings.rank_histogram.buckets.add(
            low_rank=rank, high_rank=rank, label=value["value"], sample_count=rows
        )


def to_schema(summary: Mapping[str, Any]) -> str:
    """A `Schema` as text: what the training split shows, for later data to be compared with."""
    schema = schema_pb2.Schema()
    for name in labels_of(summary):
        label = schema.feature.add(name=name, type=schema_pb2.FLOAT)
        label.presence.min_fraction = 1.0
        label.float_domain.min, label.float_domain.max = 0.0, 1.0
    for name, feature in summary["features"].items():
        found = feature["splits"]["train"]
        is_number = feature["kind"] == "numeric"
        added = schema.feature.add(
            name=name, type=schema_pb2.FLOAT if is_number else schema_pb2.BYTES
        )
        if not found["missing"]:
            added.presence.min_fraction = 1.0
        if found.get("length"):
            added.value_count.min, added.value_count.max = 1, int(found["length"]["high"])
        else:
            added.value_count.min = added.value_count.max = 1
        if is_number and "low" in found:
            added.float_domain.min, added.float_domain.max = found["low"], found["high"]
        elif not is_number and found["distinct"] <= TOP and not found["distinct_error"]:
            seen = (v["value"] for v in feature["values"] if v["rows"]["train"])
            added.string_domain.value.extend(sorted(seen))
    return str(text_format.MessageToString(schema))
