"""Manifests for Kubernetes: a Deployment with what it reads, how it is reached and scaled."""

import hashlib
import json
from typing import Any

from serving.config_protos import METRICS_PATH
from serving.deploy.deployment import (
    BINARY,
    CONFIG_PATH,
    COPIER,
    GRPC_PORT,
    REMOTES,
    REST_PORT,
    USER,
    Deployment,
    ready_path,
    status_path,
)
from serving.deploy.model_server import config_files, flags
from serving.deploy.prometheus import LATENCY_METRIC

_GIB = 1 << 30
_DRAIN_SECONDS = 15  # until all nodes know that a stopping pod takes no new requests
_REQUEST_SECONDS = 30  # the server's own limit of a request over REST

_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# At once, but a new pod loads its models before it helps: the latency that it has not yet brought
# down is no reason for more than twice as many.
_SCALE_UP = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Percent", "value": 100, "periodSeconds": 120},
        {"type": "Pods", "value": 2, "periodSeconds": 120},
    ],
}
_LINK_LOCAL = "169.254.0.0/16"  # where clouds tell pods who they are
_TO_STORES = [
    {"ports": [{"protocol": "TCP", "port": 443}]},
    {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
    {"to": [{"ipBlock": {"cidr": _LINK_LOCAL}}]},
]

Manifest = dict[str, Any]


def manifests(deployment: Deployment) -> list[Manifest]:
    """All manifests, in the order to apply them."""
    return [
        _config_map(deployment),
        _service_account(deployment) if deployment.asks_store else _volume_claim(deployment),
        _deployment(deployment),
        _service(deployment),
        _headless_service(deployment),
        _network_policy(deployment),
        _autoscaler(deployment),
        _disruption_budget(deployment),
    ]


def _manifest(deployment: Deployment, api: str, kind: str, name: str = "", **body: Any) -> Manifest:
    return {"apiVersion": api, "kind": kind, "metadata": _metadata(deployment, name), **body}


def _config_map(deployment: Deployment) -> Manifest:
    return _manifest(deployment, "v1", "ConfigMap", "config", data=config_files(deployment))


def _volume_claim(deployment: Deployment) -> Manifest:
    """Models come from a volume that many pods read and one publisher writes."""
    spec = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": _room(deployment)}},
    }
    return _manifest(deployment, "v1", "PersistentVolumeClaim", "models", spec=spec)


def _service_account(deployment: Deployment) -> Manifest:
    """Whom the object store knows the pods as: its annotations are the cloud's matter."""
    return _manifest(deployment, "v1", "ServiceAccount", automountServiceAccountToken=False)


def _deployment(deployment: Deployment) -> Manifest:
    labels = _labels(deployment)
    spec = {  # no replicas: their number is the autoscaler's
        "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {
            "metadata": {"labels": labels, "annotations": _annotations(deployment)},
            "spec": _pod(deployment),
        },
    }
    return _manifest(deployment, "apps/v1", "Deployment", spec=spec)


def _annotations(deployment: Deployment) -> dict[str, str]:
    """Where Prometheus finds the metrics, and a sum by which a new configuration rolls the pods."""
    config = json.dumps(config_files(deployment), sort_keys=True)
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(REST_PORT),
        "prometheus.io/path": METRICS_PATH,
        "checksum/config": hashlib.sha256(config.encode()).hexdigest(),
    }


def _pod(deployment: Deployment) -> dict[str, Any]:
    return {
        "automountServiceAccountToken": False,
        **({"serviceAccountName": deployment.name} if deployment.asks_store else {}),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **({"initContainers": [_copier(deployment)]} if deployment.copy_from else {}),
        "containers": [_container(deployment)],
        # TensorFlow Serving has no handler for SIGTERM, and as a container's first process it
        # ignores it: it answers until it is killed at the end of this time.
        "terminationGracePeriodSeconds": _DRAIN_SECONDS + _REQUEST_SECONDS,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": topology,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _labels(deployment)},
            }
            for topology in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
        "volumes": [
            {"name": "config", "configMap": {"name": _metadata(deployment, "config")["name"]}},
            *_models_volume(deployment),
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def _models_volume(deployment: Deployment) -> list[dict[str, Any]]:
    """The volume of the models, if the server does not read them from an object store."""
    if deployment.reads_address:
        return []
    if deployment.copy_from:
        return [{"name": "models", "emptyDir": {"sizeLimit": _room(deployment)}}]
    claim = {"claimName": _metadata(deployment, "models")["name"], "readOnly": True}
    return [{"name": "models", "persistentVolumeClaim": claim}]


def _copier(deployment: Deployment) -> dict[str, Any]:
    """Copies the models from an object store before the server starts."""
    scheme, _, path = str(deployment.copy_from).partition("://")
    return {
        "name": "copy-models",
        "image": COPIER,
        "args": ["copy", "--config=", f"{REMOTES[scheme]}:{path}", deployment.base_path],
        "resources": {
            "requests": {"cpu": "1", "memory": "256Mi"},
            "limits": {"memory": "1Gi"},
        },
        "securityContext": _SECURITY,
        "volumeMounts": [{"name": "models", "mountPath": deployment.base_path}],
    }


def _container(deployment: Deployment) -> dict[str, Any]:
    first = deployment.models[0]  # the ports open when all models are available
    # A swap holds two versions; in memory with its graphs a version is larger than on disk.
    memory = _gibibytes(_GIB + 4 * deployment.model_bytes)
    return {
        "name": "server",
        "image": deployment.image,
        "command": [BINARY],
        "args": flags(deployment),
        "ports": [
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "rest", "containerPort": REST_PORT},
        ],
        "startupProbe": _probe(ready_path(first), every=5, failures=120),
        "readinessProbe": _probe(ready_path(first), every=5, failures=2),
        # Slow answers under load are not a reason to restart, which would make them slower.
        "livenessProbe": _probe(status_path(first), every=10, failures=6),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_DRAIN_SECONDS)]}}},
        "resources": {  # no limit of CPU: throttling makes the slowest requests slower
            "requests": {"cpu": str(deployment.cpus), "memory": memory},
            "limits": {"memory": memory},
        },
        "securityContext": _SECURITY,
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_PATH, "readOnly": True},
            *(
                {"name": volume["name"], "mountPath": deployment.base_path, "readOnly": True}
                for volume in _models_volume(deployment)
            ),
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _probe(path: str, every: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "rest"},
        "periodSeconds": every,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _service(deployment: Deployment) -> Manifest:
    spec = {
        "selector": _labels(deployment),
        "ports": [
            {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc"},
            {"name": "rest", "port": REST_PORT, "targetPort": "rest"},
        ],
    }
    return _manifest(deployment, "v1", "Service", spec=spec)


def _headless_service(deployment: Deployment) -> Manifest:
    """The addresses of all pods, among which a gRPC client balances its requests itself: a
    connection to the other service stays with one pod."""
    spec = {
        "clusterIP": "None",
        "selector": _labels(deployment),
        "ports": [{"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc"}],
    }
    return _manifest(deployment, "v1", "Service", "grpc", spec=spec)


def _network_policy(deployment: Deployment) -> Manifest:
    """Pods are asked on their two ports, and ask nobody but an object store, if need be."""
    spec = {
        "podSelector": {"matchLabels": _labels(deployment)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": port} for port in ("grpc", "rest")]}],
        "egress": _TO_STORES if deployment.asks_store else [],
    }
    return _manifest(deployment, "networking.k8s.io/v1", "NetworkPolicy", spec=spec)


def pod_monitor(deployment: Deployment) -> Manifest:
    """How the operator of Prometheus finds the metrics, where there is one."""
    spec = {
        "selector": {"matchLabels": _labels(deployment)},
        "podMetricsEndpoints": [{"port": "rest", "path": METRICS_PATH, "interval": "15s"}],
    }
    return _manifest(deployment, "monitoring.coreos.com/v1", "PodMonitor", spec=spec)


def _autoscaler(deployment: Deployment) -> Manifest:
    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name}
    least, most = deployment.replicas
    latency = {
        "metric": {"name": LATENCY_METRIC},
        "target": {"type": "AverageValue", "averageValue": str(deployment.latency_ms)},
    }
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 75}}
    spec = {
        "scaleTargetRef": scaled,
        "minReplicas": least,
        "maxReplicas": most,
        # The larger number wins; CPU goes on where the latency cannot be had.
        "metrics": [{"type": "Pods", "pods": latency}, {"type": "Resource", "resource": cpu}],
        "behavior": {"scaleUp": _SCALE_UP, "scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return _manifest(deployment, "autoscaling/v2", "HorizontalPodAutoscaler", spec=spec)


def _disruption_budget(deployment: Deployment) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _labels(deployment)}}
    return _manifest(deployment, "policy/v1", "PodDisruptionBudget", spec=spec)


def _metadata(deployment: Deployment, suffix: str = "") -> dict[str, Any]:
    name = f"{deployment.name}-{suffix}" if suffix else deployment.name
    return {"name": name, "labels": _labels(deployment)}


def _labels(deployment: Deployment) -> dict[str, str]:
    return {"app.kubernetes.io/name": deployment.name}


def _room(deployment: Deployment) -> str:
    """For several versions of each model."""
    return _gibibytes(10 * deployment.model_bytes)


def _gibibytes(size: int) -> str:
    """A quantity, rounded up."""
    return f"{-(-size // _GIB)}Gi"
