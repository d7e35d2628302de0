"""Files for the real TensorFlow Serving: parsed by what will read them, and true of each other."""

import json
import re
import subprocess
import time

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from ctr_keras.cli import main
from serving.config_protos import METRICS_PATH, BatchingParameters, MonitoringConfig
from serving.deploy import Deployment, write_deployment
from serving.deploy.deployment import CONFIG_PATH
from serving.deploy.model_server import flags
from serving.server.metrics import Metrics
from tests.serving import toy_models
from tests.serving.processes import running
from tests.serving.toy_models import call

ODD = "odd name:%"
LABELS = {"toy": {"stable": 7, "canary": 8}}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models: `toy` with the versions 7 and 8, and one whose name has to be escaped."""
    folder = tmp_path_factory.mktemp("deployed") / "models"
    for name, version in (("toy", 7), ("toy", 8), (ODD, 1)):
        toy_models.save_times(str(folder / name / str(version)), version)
    return str(folder)


@pytest.fixture(scope="module")
def deployment(models):
    return Deployment(
        models, name="ctr", labels=LABELS, batching=True, cpus=3, latency_ms=25, replicas=(3, 9)
    )


@pytest.fixture(scope="module")
def out(deployment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("deployment")
    write_deployment(deployment, str(folder))
    return folder


@pytest.fixture(scope="module")
def manifests(out):
    """By their kinds; of the headless service, its name."""
    found = yaml.safe_load_all((out / "kubernetes.yaml").read_text())
    return {"ctr-grpc" if is_headless(m) else m["kind"]: m for m in found}


def is_headless(manifest):
    return manifest.get("spec", {}).get("clusterIP") == "None"


@pytest.fixture(scope="module")
def pod(manifests):
    return manifests["Deployment"]["spec"]["template"]


@pytest.fixture(scope="module")
def service(out):
    return yaml.safe_load((out / "compose.yaml").read_text())["services"]["ctr"]


def parsed(file, message):
    return text_format.Parse(file.read_text(), message)


def test_models_config_parses_with_the_official_proto(out):
    config = parsed(out / "models.config", model_server_config_pb2.ModelServerConfig())
    odd, toy = config.model_config_list.config
    assert (odd.name, odd.base_path, odd.model_platform) == (ODD, f"/models/{ODD}", "tensorflow")
    assert odd.model_version_policy.latest.num_versions == 1
    assert (toy.name, toy.base_path, toy.model_platform) == ("toy", "/models/toy", "tensorflow")
    assert list(toy.model_version_policy.specific.versions) == [7, 8]
    assert dict(toy.version_labels) == LABELS["toy"]


def test_batching_config_splits_long_requests_and_has_room_for_them(out):
    batching = parsed(out / "batching.config", BatchingParameters())
    assert batching.num_batch_threads.value == 3
    assert batching.enable_large_batch_splitting.value
    room = batching.max_enqueued_batches.value * batching.max_execution_batch_size.value
    assert batching.max_batch_size.value < room


def test_monitoring_config_is_what_prometheus_is_told(out, pod):
    prometheus = parsed(out / "monitoring.config", MonitoringConfig()).prometheus_config
    annotations = pod["metadata"]["annotations"]
    assert prometheus.enable
    assert prometheus.path == annotations["prometheus.io/path"] == METRICS_PATH
    assert annotations["prometheus.io/port"] == "8501"


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_manifests_fit_the_schemas_of_kubernetes(manifests, version):
    assert list(manifests) == [
        "ConfigMap",
        "PersistentVolumeClaim",
        "Deployment",
        "Service",
        "ctr-grpc",
        "NetworkPolicy",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
    ]
    for manifest in manifests.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_manifests_refer_to_each_other(manifests, pod):
    names = {kind: manifest["metadata"]["name"] for kind, manifest in manifests.items()}
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    container = pod["spec"]["containers"][0]
    assert volumes["config"]["configMap"]["name"] == names["ConfigMap"]
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == names["PersistentVolumeClaim"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    labels = pod["metadata"]["labels"].items()
    assert manifests["Deployment"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert manifests["Service"]["spec"]["selector"].items() <= labels
    assert manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in manifests["Service"]["spec"]["ports"]} == ports
    headless = manifests["ctr-grpc"]
    assert headless["metadata"]["name"] == "ctr-grpc"
    assert headless["spec"]["selector"].items() <= labels
    assert [port["targetPort"] for port in headless["spec"]["ports"]] == ["grpc"]
    policy = manifests["NetworkPolicy"]["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels
    assert {port["port"] for port in policy["ingress"][0]["ports"]} == ports
    assert policy["egress"] == []
    for spread in pod["spec"]["topologySpreadConstraints"]:
        assert spread["labelSelector"]["matchLabels"].items() <= labels
    scaler = manifests["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == names["Deployment"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)


def test_the_operator_of_prometheus_finds_the_metrics_of_these_pods(out, pod):
    monitor = yaml.safe_load((out / "pod-monitor.yaml").read_text())
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    labels = pod["metadata"]["labels"].items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["path"] == pod["metadata"]["annotations"]["prometheus.io/path"]
    assert endpoint["port"] in {p["name"] for p in pod["spec"]["containers"][0]["ports"]}


def test_the_dashboard_asks_for_metrics_and_labels_that_servers_have(out):
    dashboard = json.loads((out / "grafana-dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    metrics = Metrics()
    with metrics.request("m", "Predict", "REST"):
        pass
    page = metrics.page()
    assert len(queries) == 5
    for query in queries:
        (name,) = re.findall(r'__name__="([^"]+)"', query)
        (labels,) = re.findall(r"by \(([^)]+)\)", query)
        (sample, *_) = (line for line in page.splitlines() if line.startswith(f"{name}{{"))
        for label in labels.split(", "):
            assert f'{label}="' in sample
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    assert len({*places}) == len({p["id"] for p in dashboard["panels"]}) == 5


def test_every_file_that_flags_name_is_mounted(out, manifests, pod, service):
    container = pod["spec"]["containers"][0]
    assert container["args"] == service["command"]
    named = re.findall(r"_file=(\S+)/(\S+)", " ".join(container["args"]))
    assert {file for _, file in named} == set(manifests["ConfigMap"]["data"])
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    binds = {mount["target"]: out / mount["source"] for mount in service["volumes"]}
    for folder, file in named:
        assert folder == mounts["config"]
        text = manifests["ConfigMap"]["data"][file]
        assert text == (binds[folder] / file).read_text()
    assert (binds[mounts["models"]] / "toy" / "8" / "saved_model.pb").exists()


def test_containers_cannot_gain_rights(pod, service):
    container = pod["spec"]["containers"][0]["securityContext"]
    assert pod["spec"]["securityContext"]["runAsNonRoot"]
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert service["read_only"]
    assert service["user"] == "65534:65534"
    assert service["cap_drop"] == ["ALL"]
    assert all(mount["read_only"] for mount in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_a_new_configuration_rolls_the_pods(models, pod, tmp_path):
    write_deployment(Deployment(models), str(tmp_path))
    other = list(yaml.safe_load_all((tmp_path / "kubernetes.yaml").read_text()))[2]
    annotations = other["spec"]["template"]["metadata"]["annotations"]
    assert annotations["checksum/config"] != pod["metadata"]["annotations"]["checksum/config"]


@pytest.mark.parametrize(
    "places",
    [
        {"base_path": "gs://bucket/models"},
        {"copy_from": "s3://bucket/models"},
        {"copy_from": "gs://bucket/models", "base_path": "/m"},
    ],
)
def test_models_may_come_from_an_object_store(models, tmp_path, places):
    deployment = Deployment(models, name="ctr", **places)
    write_deployment(deployment, str(tmp_path))
    found = {m["kind"]: m for m in yaml.safe_load_all((tmp_path / "kubernetes.yaml").read_text())}
    for manifest in found.values():
        kubernetes_validate.validate(manifest, "1.30", strict=True)
    assert "PersistentVolumeClaim" not in found
    pod = found["Deployment"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]
    https, *_ = found["NetworkPolicy"]["spec"]["egress"]
    assert https["ports"] == [{"protocol": "TCP", "port": 443}]
    (server,) = pod["containers"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in server["volumeMounts"]}
    assert mounts.keys() == volumes.keys()
    config = parsed(tmp_path / "models.config", model_server_config_pb2.ModelServerConfig())
    paths = {model.base_path for model in config.model_config_list.config}
    readme = (tmp_path / "README.md").read_text()
    if deployment.copy_from is None:
        assert paths == {"gs://bucket/models/toy", f"gs://bucket/models/{ODD}"}
        assert "models" not in mounts
        service = yaml.safe_load((tmp_path / "compose.yaml").read_text())["services"]["ctr"]
        assert [mount["target"] for mount in service["volumes"]] == [CONFIG_PATH]
        assert "--out gs://bucket/models/NAME" in readme
        return
    (copier,) = pod["initContainers"]
    assert copier["args"][2:] == [
        {"s3": ":s3,provider=AWS,env_auth", "gs": ":gcs,env_auth"}[deployment.copy_from[:2]]
        + ":bucket/models",
        deployment.base_path,
    ]
    assert copier["volumeMounts"] == [{"name": "models", "mountPath": deployment.base_path}]
    assert copier["securityContext"] == server["securityContext"]
    assert "emptyDir" in volumes["models"]
    assert mounts["models"] == deployment.base_path
    assert paths == {f"{deployment.base_path}/{model}" for model in ("toy", ODD)}
    assert "kubectl rollout restart deployment/ctr" in readme


def test_servers_are_added_at_once_but_not_without_end(manifests):
    behavior = manifests["HorizontalPodAutoscaler"]["spec"]["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert {p["type"]: p["value"] for p in behavior["scaleUp"]["policies"]} == {
        "Percent": 100,
        "Pods": 2,
    }
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_the_autoscaler_reads_the_latency_that_the_adapter_makes(out, manifests):
    (rule,) = yaml.safe_load((out / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    latency, cpu = manifests["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert latency["pods"]["metric"]["name"] == rule["name"]["as"]
    assert latency["pods"]["target"] == {"type": "AverageValue", "averageValue": "25"}
    assert cpu["resource"]["name"] == "cpu"
    assert '":tensorflow:serving:request_latency_bucket"' in rule["seriesQuery"]
    assert rule["metricsQuery"].endswith("/ 1000")  # microseconds to milliseconds


def test_memory_grows_with_the_models(models, tmp_path, manifests):
    big = tmp_path / "big" / "1"
    big.mkdir(parents=True)
    with open(big / "variables", "wb") as file:
        file.truncate(5 << 30)  # takes no space
    write_deployment(Deployment(str(tmp_path)), str(tmp_path / "out"))
    manifest = list(yaml.safe_load_all((tmp_path / "out" / "kubernetes.yaml").read_text()))[2]
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "21Gi"


@pytest.fixture(scope="module")
def served(models, tmp_path_factory):
    """The embedded server, started with the flags and files made for the real one."""
    out = tmp_path_factory.mktemp("local")
    deployment = Deployment(models, base_path=models, labels=LABELS, batching=True)
    write_deployment(deployment, str(out))
    given = [flag.replace(CONFIG_PATH, str(out)) for flag in flags(deployment)]
    with running(*(flag for flag in given if "port=" not in flag)) as process:
        process.wait_for("Serving")
        yield process


def test_the_embedded_server_runs_on_these_files(served, manifests, pod):
    for label, version in LABELS["toy"].items():
        toy_models.wait_for_state(served, "toy", version, "AVAILABLE")
        path = f"/v1/models/toy/labels/{label}:predict"
        status, _, body = call(served, path, {"instances": [1.0]})
        assert (status, json.loads(body)) == (200, {"predictions": [version]})
    metrics = call(served, pod["metadata"]["annotations"]["prometheus.io/path"])[2].decode()
    assert ':tensorflow:serving:request_latency_bucket{model_name="toy"' in metrics
    container = pod["spec"]["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert call(served, container[probe]["httpGet"]["path"])[0] == 200


def test_the_health_check_of_compose_asks_for_every_model(served, service):
    assert service["healthcheck"]["test"][:3] == ["CMD", "bash", "-c"]
    script = service["healthcheck"]["test"][3].replace("$$", "$")
    here = script.replace("127.0.0.1/8501", served.rest_address.replace(":", "/"))
    assert _bash(here) == 0
    assert _bash(here.replace("/models/toy/", "/models/unknown/")) != 0
    assert _bash(script.replace("127.0.0.1/8501", "127.0.0.1/1")) != 0  # nobody listens there


def _bash(script):
    started = time.monotonic()
    code = subprocess.run(["bash", "-c", script], timeout=20, stderr=subprocess.DEVNULL).returncode
    assert time.monotonic() - started < 5  # the health check's own limit
    return code


def test_an_op_has_one_thread_and_all_requests_the_cores(models):
    given = flags(Deployment(models, cpus=3))
    assert "--tensorflow_intra_op_parallelism=1" in given
    assert "--tensorflow_inter_op_parallelism=3" in given


def test_without_labels_and_batching_their_flags_are_not_given(models):
    given = " ".join(flags(Deployment(models)))
    assert "batching" not in given
    assert "label" not in given


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "Ctr"}, "name must be lower-case letters"),
        ({"image": "tensorflow/serving"}, "image must be an image with its version"),
        ({"image": "tensorflow/serving:latest"}, "image must be an image with its version"),
        ({"base_path": "models"}, "base_path must be an absolute path or an address"),
        ({"base_path": "s3://b/m"}, "s3://b/m: tensorflow/serving reads no s3:// since 2.7; copy"),
        ({"copy_from": "/models"}, "copy_from must be at gs:// or s3://, got /models"),
        (
            {"copy_from": "gs://b/m", "base_path": "gs://b/m"},
            "base_path must be a path with copy_from",
        ),
        ({"cpus": 0}, "cpus must be at least 1, got 0"),
        ({"latency_ms": 0}, "latency_ms must be at least 1, got 0"),
        ({"replicas": (3, 2)}, "replicas must be positive and in ascending order"),
        ({"labels": {"toi": {"stable": 1}}}, "no such model; did you mean 'toy'"),
        ({"labels": {"toy": {"stable": 9}}}, r"no version 9. Versions: \[7, 8\]"),
    ],
)
def test_wrong_settings_are_named(models, settings, message):
    with pytest.raises(ValueError, match=message):
        Deployment(models, **settings)


def test_a_folder_that_the_real_server_would_wait_for_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no models"):
        Deployment(str(tmp_path))
    (tmp_path / "ctr" / "not-a-number").mkdir(parents=True)
    with pytest.raises(ValueError, match="ctr has no version"):
        Deployment(str(tmp_path))


def test_command(models, tmp_path):
    command = ["deploy", "--models", models, "--out", str(tmp_path / "out")]
    labels = ["--label", "toy:stable=7", "--label", "toy:canary=8"]
    result = CliRunner().invoke(main, [*command, *labels, "--name", "ctr", "--replicas", "1", "2"])
    assert result.exit_code == 0, result.output
    assert sorted(result.output.split()) == sorted(str(p) for p in (tmp_path / "out").iterdir())
    assert 'key: "canary"' in (tmp_path / "out" / "models.config").read_text()
    assert "minReplicas: 1" in (tmp_path / "out" / "kubernetes.yaml").read_text()

    result = CliRunner().invoke(main, [*command, "--label", "toy=7"])
    assert result.exit_code == 1
    assert result.output == "Error: expected MODEL:LABEL=VERSION, got toy=7\n"
