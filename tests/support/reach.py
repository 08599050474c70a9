# SPDX-License-Identifier: Apache-2.0
"""Whether pods reach each other: by pings, by packets as large as can be, by streams."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linen.lab.cluster import Lab
    from linen.lab.pods import Pod

DEADLINE = 20  # seconds
MEGABYTE = bytes(range(256)) * 4096
STREAM_PORT = 7
HEADERS = {4: 20 + 8, 6: 40 + 8}  # bytes of IP and of an echo request


def assert_all_reach_all(lab: Lab, mtu: int) -> None:
    """Every pod reaches every other over each IP version that it has, with packets of `mtu` bytes.

    That is the pods' MTU. If VXLAN added more than was left for it, the underlay would lose them.
    """
    matrix = lab.ping_matrix()
    assert matrix.losses == [], matrix.silent
    pods = lab.pods()
    assert [mtu_of(pod) for pod in pods] == [mtu] * len(pods)
    for client, server in zip(pods, pods[1:] + pods[:1], strict=True):
        for address in server.addresses:
            assert is_answered(client, str(address), mtu)
            assert send_stream(client, server, str(address)) == MEGABYTE


def mtu_of(pod: Pod) -> int:
    """The MTU of the pod's eth0, in bytes."""
    (link,) = json.loads(pod.node.run(["ip", "-j", "link", "show", "eth0"], pod=pod.name).stdout)
    return int(link["mtu"])


def is_answered(pod: Pod, address: str, size: int) -> bool:
    """Whether a ping of a packet of `size` bytes, which may not be cut up, is answered."""
    payload = size - HEADERS[6 if ":" in address else 4]
    ping = ["ping", "-c1", f"-w{DEADLINE}", "-Mdo", f"-s{payload}", address]
    return pod.node.run(ping, pod=pod.name, check=False).returncode == 0


def send_stream(client: Pod, server: Pod, address: str) -> bytes:
    """What arrives at `address` of pod `server` when `client` sends it a megabyte by TCP."""
    stream = (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    received = bytearray()

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(DEADLINE)
            while chunk := connection.recv(65536):
                received.extend(chunk)

    with (
        server.node.open_pod_socket(server.name, *stream) as listener,
        client.node.open_pod_socket(client.name, *stream) as sender,
    ):
        for one in (listener, sender):
            one.settimeout(DEADLINE)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, STREAM_PORT))
        listener.listen()
        thread = threading.Thread(target=serve, args=[listener])
        thread.start()
        sender.connect((address, STREAM_PORT))
        sender.sendall(MEGABYTE)
        sender.shutdown(socket.SHUT_WR)
        thread.join(DEADLINE)
    return bytes(received)
