# SPDX-License-Identifier: Apache-2.0
"""Where the API server is, and who we are to it: from a pod's files, or from a kubeconfig.

Files are named here and read when they are needed, since they change while the daemon runs: the
kubelet replaces a service account's token every hour at most, and certificates are renewed.

A kubeconfig may identify us by a token, a token's file or a client certificate. Programs that
fetch credentials (`exec`, `auth-provider`) are made for people; they are refused, with words.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import yaml

from linen.kube import errors

if TYPE_CHECKING:
    from collections.abc import Mapping

# https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LARGEST_FILE = 1 << 20  # bytes; of a kubeconfig, a token or a certificate

_NOT_FOR_DAEMONS = ("exec", "auth-provider", "username", "password")


@dataclass(frozen=True, slots=True)
class Access:
    """How to talk to one API server.

    `authority`, `certificate`, `key`, `token`: the content, or the file that has it. Without an
    `authority` the system's are trusted. `server_name`: what the server's certificate says, where
    that is not the host of `url`. `proxy`: the URL of an HTTP proxy; the environment is not asked.
    """

    url: str
    authority: bytes | Path | None = None
    certificate: bytes | Path | None = None
    key: bytes | Path | None = None
    token: bytes | Path | None = None
    server_name: str = ""
    proxy: str = ""
    verify: bool = True

    def read_token(self) -> str:
        """The bearer token as it is now; empty if there is none. Raises `AccessInvalid`."""
        return _read(self.token).decode(errors="replace").strip()

    def tls_context(self) -> ssl.SSLContext:
        """What to connect with, from the files as they are now. Raises `AccessInvalid`."""
        try:
            context = ssl.create_default_context(cadata=_read(self.authority).decode() or None)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate is not None:
                _load_certificate(context, _read(self.certificate) + b"\n" + _read(self.key))
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise errors.AccessInvalid(f"certificates for {self.url}: {error}") from error
        return context

    def files_state(self) -> bytes:
        """Differs from an earlier one if `tls_context` would be another one by now.

        Its contents tell: the kubelet writes all files of a service account anew with each token.
        Raises `AccessInvalid`.
        """
        digest = hashlib.sha256()
        for file in (self.authority, self.certificate, self.key):
            content = _read(file)
            digest.update(len(content).to_bytes(8, "big") + content)
        return digest.digest()


def load(kubeconfig: Path | None, environment: Mapping[str, str] = os.environ) -> Access:
    """The access that a kubeconfig describes, or without one that of a pod's service account.

    Raises `AccessInvalid`.
    """
    return from_pod(environment) if kubeconfig is None else from_kubeconfig(kubeconfig)


def from_pod(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Access:
    """The access of the service account whose pod we are in. Raises `AccessInvalid`."""
    host = environment.get("KUBERNETES_SERVICE_HOST", "")
    port = environment.get("KUBERNETES_SERVICE_PORT_HTTPS") or environment.get(
        "KUBERNETES_SERVICE_PORT", ""
    )
    if not host or not port:
        raise errors.AccessInvalid(
            "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set, so this is no pod: "
            "give a kubeconfig"
        )
    access = Access(
        f"https://{f'[{host}]' if ':' in host else host}:{port}",
        authority=folder / "ca.crt",
        token=folder / "token",
    )
    access.tls_context()
    access.read_token()
    return access


def from_kubeconfig(path: Path) -> Access:
    """The access of a kubeconfig's current context. Raises `AccessInvalid`."""
    try:
        access = _Kubeconfig(path).access()
    except _Wrong as wrong:
        raise errors.AccessInvalid(f"kubeconfig {path}: {wrong}") from None
    access.tls_context()
    access.read_token()
    return access


class _Wrong(Exception):
    """What is wrong with a kubeconfig."""


class _Kubeconfig:
    """Takes a kubeconfig apart (https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/)."""

    def __init__(self, path: Path) -> None:
        self._folder = path.absolute().parent
        try:
            document = yaml.safe_load(_read_file(path))
        except (OSError, yaml.YAMLError) as error:
            raise _Wrong(f"cannot be read: {error}") from None
        self._document = _mapping(document, "the file")

    def access(self) -> Access:
        context = self._named("contexts", "context", self._current_context())
        cluster = self._named("clusters", "cluster", _text(context, "cluster"))
        user = self._named("users", "user", _text(context, "user"))
        url = _text(cluster, "server").rstrip("/")
        _check_url(url, "server", "https")
        proxy = _text(cluster, "proxy-url")
        if proxy:
            _check_url(proxy, "proxy-url", "http", "https")
        for key in _NOT_FOR_DAEMONS:
            if user.get(key):
                raise _Wrong(
                    f"the user's {key} cannot be used by a daemon: "
                    "it needs token, tokenFile, or client-certificate and client-key"
                )
        access = Access(
            url,
            authority=self._content(cluster, "certificate-authority"),
            certificate=self._content(user, "client-certificate"),
            key=self._content(user, "client-key"),
            token=self._token(user),
            server_name=_text(cluster, "tls-server-name"),
            proxy=proxy,
            verify=cluster.get("insecure-skip-tls-verify") is not True,
        )
        if (access.certificate is None) != (access.key is None):
            raise _Wrong("client-certificate and client-key go together, one is missing")
        return access

    def _current_context(self) -> str:
        name = _text(self._document, "current-context")
        if not name:
            raise _Wrong("current-context is missing")
        return name

    def _named(self, table: str, key: str, name: str) -> dict[str, Any]:
        entries = self._document.get(table)
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and entry.get("name") == name:
                return _mapping(entry.get(key), f"{table}: {name}")
        raise _Wrong(f"{table} has no {name or '(empty name)'}")

    def _content(self, found: dict[str, Any], key: str) -> bytes | Path | None:
        inline = _text(found, f"{key}-data")
        if inline:
            try:
                return base64.b64decode(inline, validate=True)
            except binascii.Error as error:
                raise _Wrong(f"{key}-data: {error}") from None
        name = _text(found, key)
        return self._folder / name if name else None

    def _token(self, user: dict[str, Any]) -> bytes | Path | None:
        name = _text(user, "tokenFile")  # goes before token, as in client-go
        if name:
            return self._folder / name
        return _text(user, "token").encode() or None


def _check_url(url: str, what: str, *schemes: str) -> None:
    """Raise where nobody could connect to `url`. International names have to be in Punycode."""
    if not url.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        raise _Wrong(f"{what} must begin with {wanted}, is {url or 'missing'}")
    try:
        parts = urlsplit(url)
        is_usable = url.isascii() and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of a port, or of brackets
        is_usable = False
    if not is_usable:
        raise _Wrong(f"{what} must have a host in ASCII, and a port only if it is a number: {url}")


def _mapping(found: Any, what: str) -> dict[str, Any]:  # noqa: ANN401 (YAML as it comes)
    if not isinstance(found, dict):
        raise _Wrong(f"{what} must be a mapping")
    return found


def _text(found: dict[str, Any], key: str) -> str:
    value = found.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _Wrong(f"{key} must be a text")
    return value


def _read(content: bytes | Path | None) -> bytes:
    if not isinstance(content, Path):
        return content or b""
    try:
        return _read_file(content)
    except OSError as error:
        raise errors.AccessInvalid(f"{content} cannot be read: {error.strerror}") from error


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise OSError(0, f"larger than {LARGEST_FILE >> 20} MiB")
    return data


def _load_certificate(context: ssl.SSLContext, pem: bytes) -> None:
    """`load_cert_chain` takes files only; this one is in memory, so that no key reaches a disk."""
    fd = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(fd, pem)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
