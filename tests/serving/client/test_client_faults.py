"""The client against servers that fail, are slow or go away: retries, deadlines, connections."""

import asyncio
import concurrent.futures
import time

import pytest

from serving.client import AsyncClient, Client, Code, Retry, ServingError
from tests.serving.clients import KINDS, Proxy, open_client, serve_fake


@pytest.fixture(params=KINDS, ids=":".join)
def kind(request):
    return request.param


@pytest.fixture
def fake(kind):
    """A fake server behind a proxy, and a client that asks it through the proxy."""
    protocol, face = kind
    with serve_fake(protocol) as (server, address), Proxy(address) as proxy:
        url = f"{protocol}://{proxy.address}"
        with open_client(url, face, timeout=10) as client:
            server.proxy, server.client, server.url = proxy, client, url
            yield server


def asked(fake, **options):
    return fake.client.predict("m", {"x": [4]}, **options)["y"].tolist()


def failure(fake, **options):
    with pytest.raises(ServingError) as caught:
        asked(fake, **options)
    return caught.value


def test_an_overloaded_server_is_asked_again(fake):
    fake.codes = [Code.UNAVAILABLE] * 3
    assert asked(fake) == [2.0]
    assert len(fake.asked) == 4


def test_attempts_end(fake):
    fake.codes = [Code.UNAVAILABLE] * 9
    error = failure(fake)
    assert (error.code, error.message) == (Code.UNAVAILABLE, "as told")
    assert len(fake.asked) == 4


@pytest.mark.parametrize(
    "code",
    [
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.INTERNAL,
        Code.UNIMPLEMENTED,
        Code.DEADLINE_EXCEEDED,
        Code.PERMISSION_DENIED,
    ],
)
def test_other_errors_are_not_tried_again(fake, code):
    fake.codes = [code]
    assert failure(fake).code == code
    assert len(fake.asked) == 1


def test_http_429_is_tried_again():
    with serve_fake("http") as (fake, address), Client(f"http://{address}") as client:
        fake.codes = [Code.RESOURCE_EXHAUSTED]
        assert client.predict("m", {"x": [4.0]})["y"].tolist() == [2.0]
        assert len(fake.asked) == 2


def test_broken_connections_are_tried_again(fake):
    fake.proxy.faults = ["drop", "drop"]
    assert asked(fake) == [2.0]
    assert fake.proxy.connections >= 3


def test_a_connection_is_kept_and_replaced_when_it_is_lost(fake):
    for _ in range(3):
        assert asked(fake) == [2.0]
    assert fake.proxy.connections == 1
    fake.proxy.cut()
    assert asked(fake) == [2.0]
    assert fake.proxy.connections == 2


def test_deadline_of_a_slow_server(fake):
    assert asked(fake) == [2.0]
    fake.seconds = 10.0
    start = time.monotonic()
    error = failure(fake, timeout=0.5)
    assert error.code == Code.DEADLINE_EXCEEDED
    assert 0.4 < time.monotonic() - start < 8


def test_deadline_of_a_server_that_hangs(fake):
    fake.proxy.faults = ["silent"] * 9
    start = time.monotonic()
    assert failure(fake, timeout=0.5).code == Code.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 2.0


@pytest.mark.parametrize("face", ["blocking", "async"])
def test_deadline_of_an_answer_that_trickles_in(face):
    with serve_fake("http") as (fake, address), open_client(f"http://{address}", face) as client:
        fake.piece = 10
        start = time.monotonic()
        with pytest.raises(ServingError) as caught:
            client.metadata("m", timeout=0.5)
        assert caught.value.code == Code.DEADLINE_EXCEEDED
        assert time.monotonic() - start < 1.0


def test_no_retry_is_begun_that_would_end_too_late(kind):
    protocol, face = kind
    with serve_fake(protocol) as (fake, address):
        fake.codes = [Code.UNAVAILABLE]
        slow = Retry(first_delay=30, max_delay=30)
        start = time.monotonic()
        with (
            open_client(f"{protocol}://{address}", face, timeout=5, retry=slow) as client,
            pytest.raises(ServingError, match=r"within 5 s; the last was UNAVAILABLE: as told$"),
        ):
            client.predict("m", {"x": [4.0]})
        assert time.monotonic() - start < 4


def test_grpc_tells_the_server_the_deadline():
    with serve_fake("grpc") as (fake, address), Client(f"grpc://{address}") as client:
        client.predict("m", {"x": [4.0]}, timeout=7)
        assert 5 < fake.time_left <= 7.01  # gRPC rounds up to hundredths of a second


def test_no_server(kind):
    protocol, face = kind
    with (
        open_client(f"{protocol}://127.0.0.1:9", face) as client,
        pytest.raises(ServingError, match=r"127\.0\.0\.1:9") as caught,
    ):
        client.status("m")
    assert caught.value.code == Code.UNAVAILABLE


def test_waiting_for_a_model_ends(kind):
    protocol, face = kind
    start = time.monotonic()
    with (
        open_client(f"{protocol}://127.0.0.1:9", face) as client,
        pytest.raises(ServingError, match=r"within 0\.5 s; the last was UNAVAILABLE") as caught,
    ):
        client.wait_until_available("m", timeout=0.5)
    assert caught.value.code == Code.DEADLINE_EXCEEDED
    assert time.monotonic() - start < 2


def test_a_request_that_the_model_no_longer_takes_is_made_anew(fake):
    assert asked(fake) == [2.0]
    fake.dtype, fake.codes = "DT_STRING", [Code.INVALID_ARGUMENT]
    assert asked(fake) == [2.0]
    assert fake.asked[1:] in ([[4.0], ["4"]], [[4.0], [b"4"]])


def test_a_request_that_the_model_takes_only_now_is_sent(fake):
    assert asked(fake) == [2.0]
    with pytest.raises(ValueError, match="row 1, column x: expected a number"):
        fake.client.predict("m", {"x": ["4.0"]})
    fake.dtype = "DT_STRING"
    assert fake.client.predict("m", {"x": ["4.0"]})["y"].tolist() == [2.0]
    assert len(fake.asked) == 2


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_threads_share_a_client(protocol):
    with (
        serve_fake(protocol) as (_, address),
        Client(f"{protocol}://{address}") as client,
        concurrent.futures.ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(client.predict, "m", {"x": [float(i)]}) for i in range(100)]
        assert [answer.result()["y"].tolist() for answer in asked] == [[i / 2] for i in range(100)]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_rows_are_scored_in_order_with_bounded_concurrency(protocol):
    async def score(url):
        async with AsyncClient(url) as client:
            rows = [{"x": float(number)} for number in range(60)]
            scores = client.predict_rows("m", rows, batch_size=2, concurrency=3)
            return [score async for score in scores]

    with serve_fake(protocol) as (fake, address):
        fake.seconds = 0.02
        assert asyncio.run(score(f"{protocol}://{address}")) == [n / 2 for n in range(60)]
        assert fake.most_at_once == 3


def test_rows_under_way_are_given_up_after_an_error():
    async def score(url):
        async with AsyncClient(url) as client:
            scores = client.predict_rows("m", [{"x": 1}] * 9, batch_size=1, concurrency=3)
            with pytest.raises(ServingError, match="as told"):
                [score async for score in scores]
            return len(asyncio.all_tasks())

    with serve_fake("http") as (fake, address):
        fake.seconds = 0.05
        fake.codes = [Code.INTERNAL]
        assert asyncio.run(score(f"http://{address}")) == 1
        assert len(fake.asked) <= 4


@pytest.mark.parametrize("page", [b"<html>", b"[1]", b'{"outputs": {}}', b"\xff", b"[" * 100_000])
def test_answers_that_make_no_sense(page):
    with serve_fake("http") as (fake, address), Client(f"http://{address}") as client:
        assert client.predict("m", {"x": [4.0]})["y"].tolist() == [2.0]
        fake.page = page
        with pytest.raises(ServingError, match="not an answer of TensorFlow Serving's") as caught:
            client.predict("m", {"x": [4.0]})
        assert caught.value.code == Code.INTERNAL
        fake.codes = [Code.NOT_FOUND]
        with pytest.raises(ServingError, match="HTTP 404: ") as caught:
            client.predict("m", {"x": [4.0]})
        assert caught.value.code == Code.NOT_FOUND


def test_retry_delays():
    retry = Retry(attempts=6, first_delay=0.1, multiplier=3, max_delay=1)
    for delay, bound in zip(retry.delays(), [0.1, 0.3, 0.9, 1, 1], strict=True):
        assert bound / 2 <= delay <= bound
    with pytest.raises(ValueError, match="attempts must be at least 1"):
        Retry(attempts=0)
    with pytest.raises(ValueError, match="must not be negative"):
        Retry(first_delay=-1)
