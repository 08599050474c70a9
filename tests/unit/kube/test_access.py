# SPDX-License-Identifier: Apache-2.0
"""Where the API server is and who we are, from a kubeconfig or a pod's files."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml

from linen.kube import access, errors

if TYPE_CHECKING:
    from pathlib import Path

AUTHORITY = trustme.CA()
PEM = AUTHORITY.cert_pem.bytes()


def kubeconfig(folder: Path, cluster: dict[str, Any], user: dict[str, Any], **other: Any) -> Path:
    document = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://192.0.2.1:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
        **other,
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    return path


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    """A relative path means a file beside the kubeconfig, and is read when it is needed."""
    (tmp_path / "ca.crt").write_bytes(PEM)
    (tmp_path / "token").write_text("first\n")
    found = access.from_kubeconfig(
        kubeconfig(tmp_path, {"certificate-authority": "ca.crt"}, {"tokenFile": "token"})
    )
    assert found.url == "https://192.0.2.1:6443"
    assert found.read_token() == "first"
    (tmp_path / "token").write_text("second\n")
    assert found.read_token() == "second"


def test_inline_certificates(tmp_path: Path) -> None:
    """Certificates and key may be in the kubeconfig itself; all three reach the TLS context."""
    issued = AUTHORITY.issue_cert("client.test")
    user = {
        "client-certificate-data": base64.b64encode(issued.cert_chain_pems[0].bytes()).decode(),
        "client-key-data": base64.b64encode(issued.private_key_pem.bytes()).decode(),
    }
    cluster = {"certificate-authority-data": base64.b64encode(PEM).decode()}
    found = access.from_kubeconfig(kubeconfig(tmp_path, cluster, user))
    assert found.read_token() == ""
    assert len(found.tls_context().get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("cluster", "user", "fault"),
    [
        (
            {"server": "http://192.0.2.1"},
            {},
            "server must begin with https://, is http://192.0.2.1",
        ),
        ({"server": "https://x:y"}, {}, "server must have a host in ASCII"),
        ({"server": "https://bücher.example"}, {}, "server must have a host in ASCII"),
        ({"server": "https://[fd00::1"}, {}, "server must have a host in ASCII"),
        ({"proxy-url": "socks5://x"}, {}, "proxy-url must begin with http:// or https://"),
        ({}, {"exec": {"command": "aws"}}, "the user's exec cannot be used by a daemon"),
        ({}, {"client-certificate": "a"}, "client-certificate and client-key go together"),
        ({}, {"tokenFile": "absent"}, "absent cannot be read: No such file"),
        ({}, {"token": 7}, "token must be a text"),
        ({"certificate-authority-data": "!"}, {}, "certificate-authority-data: "),
        (
            {"certificate-authority-data": base64.b64encode(b"x").decode()},
            {},
            "certificates for https://192.0.2.1:6443: ",
        ),
    ],
)
def test_faults(tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any], fault: str) -> None:
    """A kubeconfig that cannot be used is refused at once, and the fault is named."""
    with pytest.raises(errors.AccessInvalid) as caught:
        access.from_kubeconfig(kubeconfig(tmp_path, cluster, user))
    assert fault in caught.value.message


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[", "cannot be read: "),
        ("7", "the file must be a mapping"),
        ("{}", "current-context is missing"),
        ("current-context: x", "contexts has no x"),
    ],
)
def test_files_that_are_no_kubeconfig(tmp_path: Path, text: str, fault: str) -> None:
    """Any other file is refused, with its path."""
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(errors.AccessInvalid) as caught:
        access.from_kubeconfig(path)
    assert caught.value.message.startswith(f"kubeconfig {path}: ")
    assert fault in caught.value.message


def test_outside_of_pods() -> None:
    """Without a kubeconfig and outside of a pod, the error says what to give."""
    with pytest.raises(errors.AccessInvalid, match="give a kubeconfig"):
        access.load(None, {})


def test_ipv6_pods(tmp_path: Path) -> None:
    """An IPv6 address of the API server is put into brackets."""
    (tmp_path / "ca.crt").write_bytes(PEM)
    (tmp_path / "token").write_text("t")
    variables = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert access.from_pod(variables, tmp_path).url == "https://[fd00::1]:443"
