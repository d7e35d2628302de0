"""How Kubernetes learns the latency: a rule for Prometheus' adapter."""

from typing import Any

# Metrics of Kubernetes have no colons in their names, so the adapter gives this one another.
LATENCY_BUCKETS = ":tensorflow:serving:request_latency_bucket"  # microseconds
LATENCY_METRIC = "tensorflow_serving_latency_p95_milliseconds"

_QUERY = (
    "histogram_quantile(0.95, sum by (le, <<.GroupBy>>) "
    "(rate(<<.Series>>{<<.LabelMatchers>>}[2m]))) / 1000"
)


def adapter_values() -> dict[str, Any]:
    """Values of the Helm chart prometheus-community/prometheus-adapter."""
    rule = {
        "seriesQuery": f'{{__name__="{LATENCY_BUCKETS}",namespace!="",pod!=""}}',
        "resources": {
            "overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}
        },
        "name": {"as": LATENCY_METRIC},
        "metricsQuery": _QUERY,
    }
    return {"rules": {"custom": [rule]}}
