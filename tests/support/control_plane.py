# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes control plane of the tests' own: real etcd and kube-apiserver, on loopback.

What is real in it: TLS, the Node and RBAC authorizers, NodeRestriction, ValidatingAdmissionPolicy,
service accounts and their tokens, storage. What is not there: controllers, scheduler and kubelets,
so a Node is what a test says it is, and nobody changes it but who is told to.
(`support.cluster` has all of these: its control plane is this one, in a network with nodes.)

The API server can be stopped and started again on the same etcd and the same port.
It is reachable on loopback; `relay.Relay` carries it into a network namespace.
"""

from __future__ import annotations

import socket
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import yaml

from linen.rollout.manifests import NAMESPACE
from support import pki
from support.paths import CHECKOUT
from support.programs import Programs

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping

ISSUER = "https://kubernetes.default.svc"
SERVICES = "10.96.0.0/16"
LOOPBACK = "127.0.0.1"
CLOCKS_DIFFER = 60  # seconds: DefaultLeeway of go-jose, with which Kubernetes validates tokens


class Place:
    """Where a control plane runs: here, on loopback.

    `address` is the one that clients elsewhere know it by, `inside` the beginning of a command line
    that leads there.
    """

    address = LOOPBACK
    inside: tuple[str, ...] = ()

    def reach(self, port: int) -> int:
        """The port of our own loopback by which a port of loopback there is reached."""
        return port


class ControlPlane:
    """A running etcd and kube-apiserver; see `running_control_plane`.

    `admin` is an HTTP client with all rights, whose base URL is the API server's.
    """

    def __init__(self, folder: Path, names: Iterable[str], place: Place, services: str) -> None:
        self.folder = folder
        self.place = place
        self._services = services
        self.port, self._etcd_port, self._peer_port = free_ports(3)
        self.url = f"https://{LOOPBACK}:{place.reach(self.port)}"
        self._etcd_url = f"http://{LOOPBACK}:{place.reach(self._etcd_port)}"
        self.ca = folder / "ca.crt"
        self.pki = pki.Pki(folder, [LOOPBACK, place.address, "localhost", *names])
        self.programs = Programs(folder, place.inside)
        self.admin = self._new_admin()

    # --- starting and stopping ---

    def start(self) -> None:
        """Start etcd and the API server; return when it is ready for everything."""
        self._start_etcd()
        self.start_api_server()

    def close(self) -> None:
        """End both."""
        self.programs.close()
        self.admin.close()

    def start_api_server(self) -> None:
        """Start the API server on the etcd that runs; return when it is ready."""
        flags = {
            "etcd-servers": f"http://{LOOPBACK}:{self._etcd_port}",
            "secure-port": self.port,
            "service-cluster-ip-range": self._services,
            "cert-dir": self.folder,
            "client-ca-file": self.ca,
            "tls-cert-file": self.pki.server_certificate,
            "tls-private-key-file": self.pki.server_key,
            "service-account-issuer": ISSUER,
            "service-account-key-file": self.pki.account_public_key,
            "service-account-signing-key-file": self.pki.account_key,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
        }
        self.programs.start("kube-apiserver", flags | self._flags_for_clients())
        self.programs.wait_for("kube-apiserver", self._is_ready)

    def ensure_api_server(self) -> None:
        """Start the API server if it does not run."""
        if not self.programs.runs("kube-apiserver"):
            self.start_api_server()

    def stop_api_server(self) -> None:
        """End the API server as a crash would; etcd keeps what it stored."""
        if self.programs.runs("kube-apiserver"):
            self.programs.stop("kube-apiserver")
            self.admin.close()  # with its connections to the server that is gone
            self.admin = self._new_admin()

    def _flags_for_clients(self) -> dict[str, Any]:
        """Who is to reach the API server: this machine, or kubelets, which it has to reach, too."""
        address = self.place.address
        if address == LOOPBACK:
            no_service = {"endpoint-reconciler-type": "none"}
            return {"bind-address": address, "advertise-address": address} | no_service
        client = self.pki.client("kube-apiserver-kubelet-client", pki.ADMINISTRATORS)
        return {
            "advertise-address": address,
            "allow-privileged": "true",
            "kubelet-client-certificate": client.certificate,
            "kubelet-client-key": client.key,
            "kubelet-preferred-address-types": "InternalIP",
        }

    def _new_admin(self) -> httpx2.Client:
        return httpx2.Client(
            base_url=self.url, verify=self.pki.admin_context(), trust_env=False, timeout=60
        )

    def _start_etcd(self) -> None:
        client, peer = (f"http://{LOOPBACK}:{port}" for port in (self._etcd_port, self._peer_port))
        flags = {
            "data-dir": self.folder / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
        }
        self.programs.start("etcd", flags)
        self.programs.wait_for("etcd", lambda: self._etcd_answers("/health"))

    def _is_ready(self) -> bool:
        try:
            return self.admin.get("/readyz").is_success
        except httpx2.TransportError:
            return False

    def _etcd_answers(self, path: str) -> bool:
        try:
            return httpx2.get(f"{self._etcd_url}{path}", trust_env=False).is_success
        except httpx2.TransportError:
            return False

    def start_controllers(self, programs: Mapping[str, dict[str, Any]]) -> None:
        """Start kube-controller-manager, and what else is named, with these flags.

        Returns when the controllers work: namespaces have got their service account.
        """
        for program, flags in programs.items():
            client = self.pki.client(f"system:{program}")
            config = self.client_kubeconfig(client, f"https://{LOOPBACK}:{self.port}")
            roles = ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
            common = {"leader-elect": "false", "cert-dir": self.folder / program}
            self.programs.start(program, dict.fromkeys(roles, config) | common | flags)
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        self.programs.wait_for("kube-controller-manager", lambda: self.admin.get(path).is_success)

    def controller_manager_flags(self) -> dict[str, Any]:
        """What a controller manager needs to make tokens, and to act under its own accounts."""
        return {
            "service-account-private-key-file": self.pki.account_key,
            "root-ca-file": self.ca,
            "use-service-account-credentials": "true",
        }

    # --- what tests do as administrators ---

    def add_rights_of_flaxd(self) -> None:
        """Make flaxd's namespace, service account, roles and policies."""
        self.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        manifests = CHECKOUT / "deploy" / "base"
        self.apply(manifests / "rbac.yaml", manifests / "policy.yaml")

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
        url = f"{self._etcd_url}/v3/kv"
        everything = {"key": "AA==", "range_end": "AA==", "count_only": True}
        with httpx2.Client(trust_env=False) as etcd:
            revision = etcd.post(f"{url}/range", json=everything).json()["header"]["revision"]
            etcd.post(
                f"{url}/compaction", json={"revision": revision, "physical": True}
            ).raise_for_status()

    # --- credentials ---

    def tls_context(self) -> ssl.SSLContext:
        """What a client connects with that trusts the API server, and is nobody yet."""
        return self.pki.context()

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
        return self.pki.sign(claims)

    def admin_kubeconfig(self, url: str = "") -> Path:
        """A kubeconfig with all rights."""
        return self.client_kubeconfig(self.pki.admin, url)

    def client_kubeconfig(self, client: pki.Client, url: str = "") -> Path:
        """A kubeconfig whose user is who the client's certificate says."""
        user = {"client-certificate": str(client.certificate), "client-key": str(client.key)}
        return self._kubeconfig(client.certificate.stem, user, url)

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
def running_control_plane(
    folder: Path,
    names: Iterable[str] = (),
    place: Place | None = None,
    services: str = SERVICES,
) -> Iterator[ControlPlane]:
    """A control plane with its files and logs in `folder`, that ends when the block does.

    `names`: further addresses and host names that the API server's certificate is to be valid for.
    `services`: the range of their addresses, or two, divided by a comma.
    """
    plane = ControlPlane(folder, names, place or Place(), services)
    try:
        plane.start()
        yield plane
    finally:
        plane.close()


@contextmanager
def temporary_control_plane() -> Iterator[ControlPlane]:
    """A control plane on loopback whose files end with the block, too."""
    with (
        tempfile.TemporaryDirectory(prefix="linen-kube-") as folder,
        running_control_plane(Path(folder)) as plane,
    ):
        yield plane


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that nobody uses now, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind((LOOPBACK, 0))
        return [sock.getsockname()[1] for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()
