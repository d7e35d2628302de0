"""`ctr-keras serve` started as TensorFlow Serving is, with its flags.

The number in a test's name is the section of TensorFlow Serving's protocol that it checks.
"""

import datetime
import ipaddress
import json
import socket
import threading

import grpc
import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from ctr_keras.cli import main
from serving.codes import Code, StatusError
from serving.server.options import Options
from serving.server.server import Server
from serving.server.signature import SignatureRunner
from tests.serving.processes import free_port, running
from tests.serving.toy_models import call, copy_version, save_broken, save_times

METRICS = "/monitoring/prometheus/metrics"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    save_times(str(folder / "2"), 2)
    return folder / "2"


@pytest.fixture
def models(saved, tmp_path):
    copy_version(saved, tmp_path / "m" / "1")
    return tmp_path


def predicted(server, model="m"):
    status, _, body = call(server, f"/v1/models/{model}:predict", {"instances": [1.0]})
    return json.loads(body)["predictions"] if status == 200 else status


def grpc_status(channel, model="m"):
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = model
    answer = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(asked, timeout=10)
    return [(s.version, s.state) for s in answer.model_version_status]


# As processes


def test_14_the_flags_people_set(models):
    (models / "models.config").write_text(
        f'model_config_list {{ config {{ name: "m" base_path: "{models}/m" '
        'model_platform: "tensorflow" version_labels { key: "stable" value: 1 } } }'
    )
    (models / "monitoring.config").write_text("prometheus_config { enable: true }")
    (models / "batching.config").write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 0 } "
        "num_batch_threads { value: 2 } max_enqueued_batches { value: 100 }"
    )
    with running(
        f"--model_config_file={models}/models.config",
        f"--monitoring_config_file={models}/monitoring.config",
        "--enable_batching",
        f"--batching_parameters_file={models}/batching.config",
        "--allow_version_labels_for_unavailable_models=true",
        "--file_system_poll_wait_seconds=1",
        "--max_num_load_retries=0",
        "--rest_api_timeout_in_ms=5000",
        "--tensorflow_intra_op_parallelism=1",
        "--tensorflow_inter_op_parallelism=1",
        "--enable_profiler=false",
        "--flush_filesystem_caches=false",
        "--per_process_gpu_memory_fraction=0.5",
    ) as server:
        server.wait_for("Serving ")
        assert predicted(server) == [2.0]
        assert predicted(server, "m/labels/stable") == [2.0]
        page = call(server, METRICS)[2].decode()
        assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 2\n' in page
        assert ":tensorflow:serving:batching_session:wrapped_run_count" in page
        with grpc.insecure_channel(server.grpc_address) as channel:
            assert grpc_status(channel) == [(1, 30)]
        assert "--flush_filesystem_caches is accepted, without effect here" in server.output
        assert "--per_process_gpu_memory_fraction is accepted" in server.output
        server.terminate()
        assert server.ended() == 0
        assert "given up" not in server.output, "nothing was under way"


def test_10_a_model_that_fails_at_start_up_ends_the_process(tmp_path):
    save_broken(str(tmp_path / "m" / "1"))
    flags = ["--model_name=m", f"--model_base_path={tmp_path}/m", "--max_num_load_retries=0"]
    with running(*flags) as server:
        assert server.ended() != 0
        assert (
            "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
            "{{{name: m version: 1} due to error: DATA_LOSS:"
        ) in server.output


def test_10_without_a_version_the_process_waits_and_can_be_ended(tmp_path):
    (tmp_path / "m").mkdir()
    flags = ["--model_name=m", f"--model_base_path={tmp_path}/m"]
    with running(*flags) as server:
        server.wait_for(
            f"No versions of servable m found under base path {tmp_path}/m. Did you forget to "
            "name your leaf directory as a number (eg. '/1/')?"
        )
        with pytest.raises(OSError, match="refused"):
            call(server, "/v1/models/m")
        server.terminate()
        assert server.ended() == 0


# In this process, where that is quicker


def invoked(*flags):
    result = CliRunner().invoke(main, ["serve", *map(str, flags)])
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to serve"),
        (["--models=a", "--model_base_path=/a"], "--models cannot be given with"),
        (["--model_base_path=a/b"], "model default to have an absolute path"),
        (["--model_config_file=/nope/models.config"], "/nope/models.config"),
        (
            ["--model_base_path=/a", "--batching_parameters_file=b"],
            "--batching_parameters_file is set without setting --enable_batching to true",
        ),
        (
            [
                "--model_base_path=/a",
                "--tensorflow_session_parallelism=2",
                "--tensorflow_intra_op_parallelism=1",
            ],
            "--tensorflow_session_parallelism excludes",
        ),
        (["--model_base_path=/a", "--grpc_channel_arguments=a"], "a has no =value"),
        (["--port=x"], "'x' is not a valid integer"),
        (["--unknown_flag=1"], "No such option"),
    ],
)
def test_14_flags_that_make_no_sense(flags, message):
    code, output = invoked(*flags)
    assert code != 0
    assert message in output


@pytest.mark.parametrize(
    ("flag", "threads"),
    [
        ("--tensorflow_inter_op_parallelism=2", 1),
        ("--tensorflow_intra_op_parallelism=0", 0),
        ("--tensorflow_session_parallelism=2", None),
        ("--tensorflow_session_config_file=threads.config", None),
    ],
)
def test_an_op_has_one_thread_where_no_flag_says_otherwise(flag, threads, monkeypatch, tmp_path):
    asked = []

    def record(models, **options):
        asked.append(Options(models, **options).tensorflow_intra_op_parallelism)
        raise StatusError(Code.ABORTED, "seen enough")

    monkeypatch.setattr("serving.server.server.Server", record)
    invoked(f"--models={tmp_path}", flag)
    assert asked == [threads]


def test_9_a_file_that_does_not_parse(tmp_path):
    path = tmp_path / "models.config"
    path.write_text("nonsense")
    code, output = invoked(f"--model_config_file={path}")
    assert code != 0
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig" in output
    assert "Failed to start server" in output


def test_1_ports(models):
    base = {"model_name": "m", "model_base_path": str(models / "m")}
    off = Options(**base)
    assert (off.grpc_port, off.rest_port) == (8500, None)
    assert Options(**base, port=0).grpc_port is None
    ours = Options(models=str(models))
    assert (ours.grpc_port, ours.rest_port) == (8500, 8501)


def test_1_one_port_for_both_leaves_rest_out(models, caplog):
    port = free_port()
    base = {"model_name": "m", "model_base_path": str(models / "m")}
    with Server(**base, port=port, rest_api_port=port) as server:
        assert server.rest_api_port is None
        with grpc.insecure_channel(server.grpc_address) as channel:
            assert grpc_status(channel) == [(1, 30)]
    assert "REST is not served" in caplog.text


@pytest.mark.parametrize("given", [True, False])
def test_1_cors(models, given):
    with Server(models, rest_api_port=0, port=0, rest_api_enable_cors_support=given) as server:
        for path, method in [("/v1/models/m", "GET"), ("/v1/models/x", "GET"), ("/v1/", "OPTIONS")]:
            _, headers, _ = call(server, path, method=method, headers={"Origin": "http://a"})
            sent = {key: value for key, value in headers.items() if key.startswith("Access")}
            assert sent == (
                {
                    "Access-Control-Allow-Origin": "*",
                    "Access-Control-Allow-Methods": "POST, GET",
                    "Access-Control-Allow-Headers": "Content-Type",
                }
                if given
                else {}
            )


def held_run(monkeypatch):
    """Lets models run only when the returned event is set."""
    run, released = SignatureRunner.run, threading.Event()

    def held(self, inputs):
        released.wait(20)
        return run(self, inputs)

    monkeypatch.setattr(SignatureRunner, "run", held)
    return released


def test_1_rest_requests_have_a_time_limit(models, monkeypatch):
    released = held_run(monkeypatch)
    with Server(models, rest_api_port=0, port=0, rest_api_timeout_in_ms=100) as server:
        status, _, body = call(server, "/v1/models/m:predict", {"instances": [1.0]})
        assert status == 504
        assert "Timed out" in json.loads(body)["error"]
        released.set()


def test_8_grpc_requests_have_the_callers_deadline(models, monkeypatch):
    released = held_run(monkeypatch)
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "m"
    asked.inputs["x"].dtype = 1
    with (
        Server(models, rest_api_port=0, port=0) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raised:
            service.Predict(asked, timeout=0.1)
        assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        released.set()


@pytest.mark.parametrize("given", [True, False])
def test_8_health_service(models, given):
    with (
        Server(models, rest_api_port=0, port=0, enable_grpc_healthcheck_service=given) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("PredictionService", "ModelService"):
            asked = health_pb2.HealthCheckRequest(service=service)
            if given:
                assert stub.Check(asked).status == health_pb2.HealthCheckResponse.SERVING
            else:
                with pytest.raises(grpc.RpcError) as raised:
                    stub.Check(asked)
                assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_8_tensor_content_on_request(models):
    asked = predict_pb2.PredictRequest()
    asked.model_spec.name = "m"
    asked.inputs["x"].dtype = 1
    asked.inputs["x"].float_val.append(1.0)
    asked.inputs["x"].tensor_shape.dim.add(size=1)
    flag = {"enable_serialization_as_tensor_content": True}
    with (
        Server(models, rest_api_port=0, port=0, **flag) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        y = service.Predict(asked).outputs["y"]
        assert not y.float_val
        assert y.tensor_content == b"\x00\x00\x00\x40"


def test_14_a_unix_socket(models, tmp_path):
    path = tmp_path / "s"
    with (
        Server(models, rest_api_port=0, port=0, grpc_socket_path=str(path)),
        grpc.insecure_channel(f"unix:{path}") as channel,
    ):
        assert grpc_status(channel) == [(1, 30)]


def test_14_grpc_settings(models):
    flag = {"grpc_channel_arguments": "grpc.max_receive_message_length=100"}
    with (
        Server(models, rest_api_port=0, port=0, **flag) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        grpc_status(channel, "m" * 200)
    assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_14_tls(models):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = models / "ssl.config"
    path.write_text(
        f"server_key: {json.dumps(private.decode())} "
        f"server_cert: {json.dumps(certificate.decode())} client_verify: false"
    )
    credentials = grpc.ssl_channel_credentials(certificate)
    with (
        Server(models, rest_api_port=0, port=0, ssl_config_file=str(path)) as server,
        grpc.secure_channel(server.grpc_address, credentials) as channel,
    ):
        assert grpc_status(channel) == [(1, 30)]


def test_14_keys_that_cannot_be_used_are_named(models):
    path = models / "ssl.config"
    path.write_text('server_key: "no key" server_cert: "no certificate"')
    with pytest.raises(StatusError, match=f"certificates in {path} cannot be used"):
        Server(models, rest_api_port=0, port=0, ssl_config_file=str(path))


@pytest.mark.parametrize(("flag", "port"), [("port", 99999), ("rest_api_port", -1)])
def test_14_ports_that_there_are_not(models, flag, port):
    code, output = invoked(f"--models={models}", f"--{flag}={port}")
    assert (code, output) == (1, f"Error: --{flag} is 0 to 65535, not {port}\n")


def test_14_a_taken_port_is_said_before_anything_is_loaded(models, monkeypatch):
    monkeypatch.setattr("serving.server.loading.Loader.__call__", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, output = invoked(f"--models={models}", "--port=0", f"--rest_api_port={port}")
    assert code == 1
    assert output == (
        f"Error: --rest_api_port={port} cannot be bound on 127.0.0.1: Address already in use\n"
    )


def test_14_tags_choose_the_graph(models):
    options = {"rest_api_port": 0, "port": 0, "saved_model_tags": "serve,gpu"}
    with Server(models, **options) as server:
        assert predicted(server) == 404
        status = json.loads(call(server, "/v1/models/m")[2])["model_version_status"][0]["status"]
        assert status["error_code"] == "NOT_FOUND"
        assert "{ gpu serve }" in status["error_message"]
