"""A dashboard for Grafana: requests, errors and latency of each model."""

import json
from typing import Any

from serving.deploy.prometheus import LATENCY_BUCKETS

REQUESTS = ":tensorflow:serving:request_count"
_LATENCY = (
    "histogram_quantile({quantile}, sum by (le, model_name) "
    '(rate({{__name__="{buckets}"}}[5m]))) / 1000'
)
_WIDTH, _HEIGHT, _COLUMNS = 12, 9, 2  # of a panel in Grafana's grid of 24, and panels a row


def dashboard(name: str) -> str:
    """The dashboard as JSON, to import; Grafana asks for the source of the data then."""
    panels = [
        _panel("Requests a second", "reqps", {"{{model_name}}": _rate("model_name")}),
        _panel("By status", "reqps", {"{{status}}": _rate("status")}),
        *(
            _panel(
                f"Latency, {quantile:.0%} of requests",
                "ms",
                {"{{model_name}}": _LATENCY.format(quantile=quantile, buckets=LATENCY_BUCKETS)},
            )
            for quantile in (0.5, 0.95, 0.99)
        ),
    ]
    for place, panel in enumerate(panels):
        row, column = divmod(place, _COLUMNS)
        panel |= {"id": place + 1}
        panel["gridPos"] = {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT}
    source = {"name": "source", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    content = {
        "title": name,
        "uid": name,
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }
    return json.dumps(content, indent=2) + "\n"


def _rate(label: str) -> str:
    return f'sum by ({label}) (rate({{__name__="{REQUESTS}"}}[5m]))'


def _panel(title: str, unit: str, queries: dict[str, str]) -> dict[str, Any]:
    """A panel of lines, by their legends."""
    return {
        "type": "timeseries",
        "title": title,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend}
            for place, (legend, query) in enumerate(queries.items())
        ],
    }
