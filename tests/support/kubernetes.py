# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes control plane of the tests' own: real etcd and kube-apiserver on loopback.

What is real in it: TLS, the Node and RBAC authorizers, NodeRestriction, ValidatingAdmissionPolicy,
service accounts and their tokens, storage. What is not there: controllers, scheduler and kubelets,
so a Node is what a test says it is, and nobody changes it but who is told to.

The API server can be stopped and started again on the same etcd and the same port.
It is reachable on loopback; `relay.Relay` carries it into a network namespace.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx2
import yaml

from support import pki
from support.host import wait_until
from support.paths import KUBERNETES

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

ISSUER = "https://kubernetes.default.svc"
SERVICES = "10.96.0.0/16"
START_SECONDS = 60.0
CLOCKS_DIFFER = 60  # seconds: DefaultLeeway of go-jose, with which Kubernetes validates tokens


class ControlPlane:
    """A running etcd and kube-apiserver; see `running_control_plane`.

    `admin` is an HTTP client with all rights, whose base URL is the API server's.
    """

    def __init__(self, folder: Path, names: Iterable[str]) -> None:
        self.folder = folder
        self.port, self.etcd_port, self._peer_port = free_ports(3)
        self.url = f"https://127.0.0.1:{self.port}"
        self.ca = folder / "ca.crt"
        self._pki = pki.Pki(folder, ["127.0.0.1", "localhost", *names])
        # The kernel ends what `_start` starts when the *thread* that started it ends (prctl(2)).
        self._starter = ThreadPoolExecutor(max_workers=1)
        self._etcd: subprocess.Popen[bytes] | None = None
        self._api_server: subprocess.Popen[bytes] | None = None
        self.admin = self._new_admin()

    # --- starting and stopping ---

    def start(self) -> None:
        """Start etcd and the API server; return when it is ready for everything."""
        self._start_etcd()
        self.start_api_server()

    def close(self) -> None:
        """End both."""
        self.stop_api_server()
        self.admin.close()
        if self._etcd is not None:
            _end(self._etcd)
        self._starter.shutdown()

    def start_api_server(self) -> None:
        """Start the API server on the etcd that runs; return when it is ready."""
        flags = {
            "etcd-servers": f"http://127.0.0.1:{self.etcd_port}",
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "advertise-address": "127.0.0.1",
            "endpoint-reconciler-type": "none",
            "service-cluster-ip-range": SERVICES,
            "cert-dir": self.folder,
            "client-ca-file": self.ca,
            "tls-cert-file": self._pki.server_certificate,
            "tls-private-key-file": self._pki.server_key,
            "service-account-issuer": ISSUER,
            "service-account-key-file": self._pki.account_public_key,
            "service-account-signing-key-file": self._pki.account_key,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
        }
        self._api_server = self._start("kube-apiserver", flags)
        self._wait_until_served(self._api_server, "kube-apiserver", self._is_ready)

    def ensure_api_server(self) -> None:
        """Start the API server if it does not run."""
        if self._api_server is None:
            self.start_api_server()

    def stop_api_server(self) -> None:
        """End the API server as a crash would; etcd keeps what it stored."""
        if self._api_server is not None:
            _end(self._api_server)
            self._api_server = None
            self.admin.close()  # with its connections to the server that is gone
            self.admin = self._new_admin()

    def _new_admin(self) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.url, verify=self._pki.admin_context(), trust_env=False, timeout=10
        )

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, self._peer_port))
        flags = {
            "data-dir": self.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
        }
        self._etcd = self._start("etcd", flags)
        self._wait_until_served(self._etcd, "etcd", lambda: self._etcd_answers("/health"))

    def _start(self, program: str, flags: dict[str, Any]) -> subprocess.Popen[bytes]:
        path = KUBERNETES / program
        assert path.exists(), f"{path} is not there: run scripts/setup kubernetes"
        words = [f"--{name}={value}" for name, value in flags.items()]
        # Should the tests be killed, nothing of theirs is to live on.
        guard = [shutil.which("setpriv") or "setpriv", "--pdeathsig", "KILL", "--"]
        with (self.folder / f"{program}.log").open("ab") as log:
            command = [*guard, str(path), *words]

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
                )

            return self._starter.submit(start).result()

    def _wait_until_served(
        self, process: subprocess.Popen[bytes], program: str, condition: Callable[[], bool]
    ) -> None:
        def served() -> bool:
            log = self.folder / f"{program}.log"
            assert process.poll() is None, f"{program} ended: {log.read_text()[-2000:]}"
            return condition()

        wait_until(served, f"{program}, whose log is in {self.folder}", START_SECONDS)

    def _is_ready(self) -> bool:
        try:
            return self.admin.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def _etcd_answers(self, path: str) -> bool:
        try:
            url = f"http://127.0.0.1:{self.etcd_port}{path}"
            return httpx2.get(url, trust_env=False).is_success
        except httpx2.TransportError:
            return False

    # --- what tests do as administrators ---

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """The parsed answer to an administrator's request; a refusal fails the test."""
        answer = self.admin.request(method, path, json=body, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def apply(self, *manifests: Path) -> None:
        """Create or change the objects of YAML files, as `kubectl apply --server-side` does."""
        for manifest in manifests:
            for found in yaml.safe_load_all(manifest.read_text()):
                path = f"{self._collection(found)}/{found['metadata']['name']}"
                self.request(
                    "PATCH",
                    path,
                    found,
                    headers={"Content-Type": "application/apply-patch+yaml"},
                    params={"fieldManager": "tests", "force": "true"},
                )

    def _collection(self, found: dict[str, Any]) -> str:
        """The path of the objects of the same kind, as the API server itself tells it."""
        version = found["apiVersion"]
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        (resource,) = (
            resource
            for resource in self.request("GET", prefix)["resources"]
            if resource["kind"] == found["kind"] and "/" not in resource["name"]
        )
        if resource["namespaced"]:
            prefix += f"/namespaces/{found['metadata']['namespace']}"
        return f"{prefix}/{resource['name']}"

    def add_node(
        self,
        name: str,
        *,
        addresses: Iterable[str] = (),
        pod_cidrs: Iterable[str] = (),
        annotations: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Create a Node as a kubelet and the controllers would; the object."""
        cidrs = list(pod_cidrs)
        spec = {"podCIDR": cidrs[0], "podCIDRs": cidrs} if cidrs else {}
        metadata = {"name": name, "annotations": annotations or {}}
        body = {"metadata": metadata, "spec": spec}
        node: dict[str, Any] = self.request("POST", "/api/v1/nodes", body)
        if addresses:
            node = self.set_addresses(name, addresses)
        return node

    def set_addresses(self, name: str, addresses: Iterable[str]) -> dict[str, Any]:
        """Set a Node's InternalIPs; the object."""
        listed = [{"type": "InternalIP", "address": address} for address in addresses]
        return self.patch_node(name, {"status": {"addresses": listed}}, "status")

    def patch_node(self, name: str, patch: dict[str, Any], part: str = "") -> dict[str, Any]:
        """Merge `patch` into a Node (`part`: "", or "status"); the object."""
        node: dict[str, Any] = self.request(
            "PATCH",
            f"/api/v1/nodes/{name}" + (f"/{part}" if part else ""),
            patch,
            headers={"Content-Type": "application/merge-patch+json"},
        )
        return node

    def annotate(self, name: str, **annotations: str | None) -> dict[str, Any]:
        """Set our annotations of a Node, `pod_ranges` for linen-cni/pod-ranges; None removes."""
        named = {f"linen-cni/{key.replace('_', '-')}": value for key, value in annotations.items()}
        return self.patch_node(name, {"metadata": {"annotations": named}})

    def node(self, name: str) -> dict[str, Any]:
        """A Node, whole."""
        found: dict[str, Any] = self.request("GET", f"/api/v1/nodes/{name}")
        return found

    def delete_node(self, name: str) -> None:
        """Delete a Node."""
        self.request("DELETE", f"/api/v1/nodes/{name}")

    def compact(self) -> None:
        """Make etcd forget all history: no watch can resume from before."""
        url = f"http://127.0.0.1:{self.etcd_port}/v3/kv"
        everything = {"key": "AA==", "range_end": "AA==", "count_only": True}
        with httpx2.Client(trust_env=False) as etcd:
            revision = etcd.post(f"{url}/range", json=everything).json()["header"]["revision"]
            etcd.post(
                f"{url}/compaction", json={"revision": revision, "physical": True}
            ).raise_for_status()

    # --- credentials ---

    def tls_context(self) -> ssl.SSLContext:
        """What a client connects with that trusts the API server, and is nobody yet."""
        return self._pki.context()

    def request_token(self, account: str, node: str) -> str:
        """A token of service account NAMESPACE/NAME that is bound to a Node, for an hour."""
        namespace, _, name = account.partition("/")
        uid = self.node(node)["metadata"]["uid"]
        bound = {"kind": "Node", "apiVersion": "v1", "name": node, "uid": uid}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        answer = self.request("POST", path, {"spec": {"boundObjectRef": bound}})
        token: str = answer["status"]["token"]
        return token

    def sign_token(self, account: str, node: str, *, seconds: float) -> str:
        """As `request_token`, but valid for `seconds`, where the API server gives 10 min at least.

        The API server remembers for 10 s that a token was valid. The minute by which it lets clocks
        differ is taken into account.
        """
        namespace, _, name = account.partition("/")
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        owner = self.request("GET", path)["metadata"]["uid"]
        now = time.time() - CLOCKS_DIFFER
        claims = {
            "iss": ISSUER,
            "aud": [ISSUER],
            "sub": f"system:serviceaccount:{namespace}:{name}",
            "iat": int(now) - 1,
            "nbf": int(now) - 1,
            "exp": int(now + seconds),
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": name, "uid": owner},
                "node": {"name": node, "uid": self.node(node)["metadata"]["uid"]},
            },
        }
        return self._pki.sign(claims)

    def admin_kubeconfig(self, url: str = "") -> Path:
        """A kubeconfig with all rights."""
        user = {
            "client-certificate": str(self._pki.admin_certificate),
            "client-key": str(self._pki.admin_key),
        }
        return self._kubeconfig("admin", user, url)

    def token_kubeconfig(self, token_file: Path, url: str = "") -> Path:
        """A kubeconfig whose user is who the token in `token_file` says.

        `url`: where to find the API server, if not on this machine's loopback.
        """
        return self._kubeconfig(token_file.name, {"tokenFile": str(token_file)}, url)

    def _kubeconfig(self, name: str, user: dict[str, str], url: str) -> Path:
        cluster = {"server": url or self.url, "certificate-authority": str(self.ca)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
            "current-context": "tests",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path


@contextmanager
def running_control_plane(folder: Path, names: Iterable[str] = ()) -> Iterator[ControlPlane]:
    """A control plane with its files and logs in `folder`, that ends when the block does.

    `names`: further addresses and host names that the API server's certificate is to be valid for.
    """
    plane = ControlPlane(folder, names)
    try:
        plane.start()
        yield plane
    finally:
        plane.close()


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nobody uses now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(timeout=10)
