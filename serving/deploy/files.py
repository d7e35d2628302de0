"""Writes a deployment's files."""

import os
from typing import Any

import yaml

from serving.deploy.compose import compose_project
from serving.deploy.deployment import COPIER, GRPC_PORT, REST_PORT, Deployment
from serving.deploy.grafana import dashboard
from serving.deploy.kubernetes import manifests, pod_monitor
from serving.deploy.model_server import BATCHING, MODELS, MONITORING, config_files
from serving.deploy.prometheus import LATENCY_METRIC, adapter_values

COMPOSE, KUBERNETES = "compose.yaml", "kubernetes.yaml"
MONITOR, ADAPTER = "pod-monitor.yaml", "prometheus-adapter.yaml"
DASHBOARD = "grafana-dashboard.json"
README = "README.md"


def write_deployment(deployment: Deployment, out: str) -> list[str]:
    """Writes all files of a deployment: configuration, compose file, manifests, a README.

    Args:
        deployment: Deployment.
        out: str. The folder to write to; made if it is not there.

    Returns:
        list of the files' paths.

    Raises:
        OSError: if a file cannot be written.

    Example:

    >>> write_deployment(Deployment("models"), "deploy")[0]
    'deploy/models.config'
    """
    files = {
        **config_files(deployment),
        COMPOSE: _yaml(compose_project(deployment, out)),
        KUBERNETES: _yaml(*manifests(deployment)),
        MONITOR: _yaml(pod_monitor(deployment)),
        ADAPTER: _yaml(adapter_values()),
        DASHBOARD: dashboard(deployment.name),
        README: _readme(deployment),
    }
    os.makedirs(out, exist_ok=True)
    paths = []
    for name, text in files.items():
        paths.append(os.path.join(out, name))
        with open(paths[-1], "w", encoding="utf-8") as file:
            file.write(text)
    return paths


def _readme(deployment: Deployment) -> str:
    batching = "in use" if deployment.batching else "not in use without `--batching`"
    return f"""\
# {deployment.name}: TensorFlow Serving with {", ".join(deployment.models)}

Written by `ctr-keras deploy`. Give that command again rather than edit these files.

| file | is |
|---|---|
| `{MODELS}` | the models, their versions and labels |
| `{BATCHING}` | how requests are joined into batches; {batching} |
| `{MONITORING}` | metrics for Prometheus |
| `{COMPOSE}` | one server on this machine |
| `{KUBERNETES}` | servers in a cluster, scaled by latency |
| `{MONITOR}` | where the operator of Prometheus finds the metrics |
| `{ADAPTER}` | how the cluster learns the latency |
| `{DASHBOARD}` | requests, errors and latency by model, to import into Grafana |

**This machine.** REST is on port {REST_PORT}, gRPC on {GRPC_PORT}, for this machine only:

    docker compose up --wait

{_models_here(deployment)} After a change of `{MODELS}`: `docker compose restart`.

**Cluster.** {_models_in_cluster(deployment)} Prometheus must scrape
pods by their annotations `prometheus.io/*` and keep the labels `namespace` and `pod`, as the chart
`prometheus-community/prometheus` does; where its operator runs, apply `{MONITOR}`. The adapter
then serves `{LATENCY_METRIC}`:

    helm upgrade --install prometheus-adapter prometheus-community/prometheus-adapter -f {ADAPTER}
    kubectl apply -f {KUBERNETES}

A pod gets requests once all models are available, for which it has 10 minutes. If one fails to
load at the start, the server ends and the pod is started again: see `kubectl logs`. If a later
version fails, the one before goes on answering.

REST is asked at the service `{deployment.name}`. A client of gRPC keeps its connection, and so its
pod, unless it balances its requests itself: give it `dns:///{deployment.name}-grpc:{GRPC_PORT}` and
`round_robin` as its load-balancing policy. A network policy lets anyone in the cluster ask on both
ports, and the servers nobody. Pods are spread over zones and nodes. `--image` may name a digest
(`NAME@sha256:...`), which no registry can move.

**Versions.** A model without labels always serves its newest version. One with labels serves just
the labelled versions: to move a label, give `ctr-keras deploy` again and apply its files.
{_how_to_copy(deployment)}

**Threads.** An op has one (`--tensorflow_intra_op_parallelism=1`), which serves the most requests a
core, and requests run beside each other on all {deployment.cpus}.
"""


def _models_here(deployment: Deployment) -> str:
    if deployment.reads_address:
        return f"The server reads {deployment.base_path}, which this machine must have a right to."
    return "The server runs as nobody, so the models must be readable by all."


def _models_in_cluster(deployment: Deployment) -> str:
    """Where pods have their models from."""
    if not deployment.asks_store:
        return f"""\
Models are read from the volume claim `{deployment.name}-models`, whose storage class must be one
that many nodes can mount; copy the folder of models into it."""
    rights = f"""\
Give the service account `{deployment.name}` the right to read there, by the annotations or
bindings of your cloud; the network policy lets pods ask for names and by HTTPS for that."""
    if deployment.reads_address:
        return f"Servers read models from {deployment.base_path} themselves. {rights}"
    return f"""\
Each pod copies the models from {deployment.copy_from} when it starts (`{COPIER}`). {rights}"""


def _how_to_copy(deployment: Deployment) -> str:
    """How a version gets there whole."""
    if deployment.copy_from:
        return f"""\
New versions come with new pods: `kubectl rollout restart deployment/{deployment.name}`."""
    if deployment.reads_address:
        return f"""\
`ctr-keras export --out {deployment.base_path}/NAME` writes `saved_model.pb` last, without which no
server loads a version, but tries again a minute later; copy versions in that order, too."""
    return """\
A server loads a folder as soon as its name is a number, so copy a version under another one and
rename it:

    cp -r models/NAME/4 VOLUME/NAME/.copying && mv VOLUME/NAME/.copying VOLUME/NAME/4"""


def _yaml(*documents: dict[str, Any]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    """Writes strings of several lines as blocks, and repeats what occurs twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)
