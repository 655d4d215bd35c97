"""Overload, clients that disconnect, and the shutdown of a service under load."""

import asyncio
import http.client
import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from higherhrnet.bench.scripts.soak import soak
from tests.serving.conftest import PNG, SCENE, Reply, Service, read_log, serving

IN_PROGRESS = "higherhrnet_images_in_progress"
PROCESSED = "higherhrnet_batch_size_sum"
SLOW = ("--size", 256, "--flip", "--batch-size", 1)
"""Makes the network slow enough that requests wait."""


def send_request(service: Service) -> socket.socket:
    """Sends a complete request without reading the response."""
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=60)
    headers = f"Host: x\r\nContent-Type: image/png\r\nContent-Length: {len(SCENE)}"
    connection.sendall(f"POST /poses HTTP/1.1\r\n{headers}\r\n\r\n".encode() + SCENE)
    return connection


def read_response(connection: socket.socket) -> tuple[int, dict[str, object]]:
    with connection, http.client.HTTPResponse(connection) as reply:
        reply.begin()
        return reply.status, json.loads(reply.read())


@pytest.mark.slow
def test_requests_beyond_the_queue_are_rejected_at_once() -> None:
    with serving("--size", 512, "--flip", "--batch-size", 1, "--max-queue", 2) as service:
        waiting = [send_request(service) for _ in range(2)]
        service.wait_for(IN_PROGRESS, 2)
        assert service.request("GET", "/ready").status == 503
        with ThreadPoolExecutor(8) as pool:
            rejected = [pool.submit(service.post, "/poses") for _ in range(8)]
            for reply in as_completed(rejected):
                assert reply.result().status == 503
                assert 1 <= int(reply.result().headers["retry-after"]) <= 30
        assert service.metric(IN_PROGRESS) > 0  # all were rejected before both were answered
        assert [read_response(connection)[0] for connection in waiting] == [200, 200]
        assert service.post("/poses").status == 200


@pytest.mark.slow
def test_images_of_disconnected_clients_are_not_processed() -> None:
    with serving(*SLOW) as service:
        connections = [send_request(service) for _ in range(20)]
        service.wait_for(IN_PROGRESS, 20)
        for connection in connections:
            connection.close()
        service.wait_for(IN_PROGRESS, 0)
        assert service.post("/poses").status == 200  # after the batch that was in the network
        assert service.metric(PROCESSED) <= 5
        assert service.metric('higherhrnet_requests_total{path="/poses",status="499"}') > 15


@pytest.mark.slow
def test_requests_time_out_with_status_503() -> None:
    with serving("--size", 512, "--flip", "--batch-size", 1, "--timeout", 1) as service:
        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(service.post, ["/poses"] * 12))
        late = [reply for reply in replies if reply.status == 503]
        assert late and all("no result within 1 second" in reply.json["detail"] for reply in late)


@pytest.mark.slow
def test_sigterm_lets_accepted_requests_finish() -> None:
    with serving(*SLOW) as service:
        waiting = [send_request(service) for _ in range(8)]
        service.wait_for(IN_PROGRESS, 8)
        service.process.send_signal(signal.SIGTERM)
        for status, response in map(read_response, waiting):
            assert status == 200 and response["images"]
        assert service.process.wait(30) == 0
        with pytest.raises(ConnectionRefusedError):
            service.post("/poses")


def wait_until_refused(service: Service) -> None:
    """Waits until the service has closed its port, which resets connections that wait for it."""
    while True:
        try:
            service.request("GET", "/health")
        except ConnectionRefusedError:
            return
        except (ConnectionResetError, http.client.RemoteDisconnected):
            continue


@pytest.mark.slow
def test_a_second_ctrl_c_ends_the_service_in_one_line() -> None:
    with serving(*SLOW) as service:
        waiting = [send_request(service) for _ in range(20)]
        service.wait_for(IN_PROGRESS, 20)
        service.process.send_signal(signal.SIGINT)
        wait_until_refused(service)
        service.process.send_signal(signal.SIGINT)
        assert service.process.wait(30) == 0
        assert read_log(service.log).count("requests in progress are canceled") == 1
        status_lines = [connection.recv(13) for connection in waiting]
        assert b"HTTP/1.1 500 " in status_lines
        assert set(status_lines) <= {b"HTTP/1.1 200 ", b"HTTP/1.1 500 "}


@pytest.mark.slow
def test_sigterm_under_load_cuts_no_response_off() -> None:
    """Each client receives complete responses until its connection is refused."""
    with serving() as service:
        replies: list[Reply] = []
        under_load = threading.Event()

        def client(_: int) -> None:
            while True:
                try:
                    replies.append(service.post("/poses"))
                except (ConnectionError, http.client.RemoteDisconnected):
                    return  # an incomplete response raises another exception
                if len(replies) > 20:
                    under_load.set()

        with ThreadPoolExecutor(12) as pool:
            clients = pool.map(client, range(12))
            assert under_load.wait(60)
            service.process.send_signal(signal.SIGTERM)
            list(clients)
        assert service.process.wait(30) == 0
        assert {reply.status for reply in replies} == {200}
        assert all(len(reply.json["annotations"]) == 3 for reply in replies)


@pytest.mark.slow
def test_no_complete_request_is_lost_among_broken_and_canceled_ones(service: Service) -> None:
    run = asyncio.run(soak(service.port, SCENE, seconds=5, clients=16))
    assert run.lost == []
    kinds = {
        "send whole: 200",
        "send garbage: 400",
        "reset: no response",
        "close early: no response",
    }
    assert kinds <= set(run.outcomes)
    assert service.post("/poses").status == 200


@pytest.mark.slow
def test_ten_thousand_requests_are_answered_and_counted(service: Service) -> None:
    def client(_: int) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
        for i in range(1000):
            body = SCENE if i % 100 == 0 else b"not an image"
            connection.request("POST", "/poses", body, PNG)
            reply = connection.getresponse()
            reply.read()
            assert reply.status == (200 if i % 100 == 0 else 415)
        return 1000

    before = service.metric(PROCESSED)
    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(client, range(10))) == 10_000
    assert service.metric(PROCESSED) == before + 100
    assert service.metric(IN_PROGRESS) == 0
