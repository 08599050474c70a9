# SPDX-License-Identifier: Apache-2.0
"""deploy/: each overlay is accepted by a real API server as it is, and agrees with the code."""

from __future__ import annotations

import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import linen
from linen.host.conflists import SECONDARY_CONF_DIR
from linen.kube import nodes
from linen.kube.account import AccountName
from linen.rollout import manifests
from linen.settings.table import SETTINGS, load, variable_of
from support.manifests import (
    DEPLOY,
    OVERLAYS,
    containers_of,
    kubectl,
    parsed,
    pods_of,
    rendered,
    settings_of,
)
from support.paths import CHECKOUT

if TYPE_CHECKING:
    from pathlib import Path

    from support.control_plane import ControlPlane

PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
GUIDE = CHECKOUT / "docs" / "kubernetes.md"

# What each container may do besides nothing, and why: the comments beside it in deploy/.
CAPABILITIES = {
    "install-cni": {"DAC_OVERRIDE"},
    "flaxd": {"NET_ADMIN", "NET_RAW", "DAC_OVERRIDE"},
    "ovsdb-server": set(),
    "ovs-vswitchd": {"NET_ADMIN", "NET_RAW", "SYS_MODULE", "IPC_LOCK", "SYS_NICE"},
    "controller": set(),
}

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
def test_overlays_are_documented(overlay: str) -> None:
    """docs/kubernetes.md names each overlay."""
    assert f"`deploy/{overlay}`" in GUIDE.read_text()


def test_documented_kustomizations_work(tmp_path: Path) -> None:
    """Each kustomization in docs/kubernetes.md renders, with values that flaxd takes."""
    shutil.copytree(DEPLOY, tmp_path / "linen" / "deploy")
    texts = re.findall(r"```yaml\n(# my-cluster/.*?)```", GUIDE.read_text(), re.DOTALL)
    assert len(texts) == 2
    for number, text in enumerate(texts):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "kustomization.yaml").write_text(text)
        objects = parsed(kubectl("kustomize", folder))
        chosen = load({}, settings_of(objects), None)
        assert chosen.overlay.topology == "star"
        _controller_agrees(objects)
        assert _asked_for(text) <= settings_of(objects).items()
        # The order of the outermost kustomization counts.
        own = (DEPLOY / "host-ovs" / "kustomization.yaml").read_text()
        assert _order(text) == _order(own)


def test_a_second_network_has_everything_of_its_own(tmp_path: Path) -> None:
    """The documented second network is one DaemonSet, which shares nothing that it must not."""
    shutil.copytree(DEPLOY, tmp_path / "linen" / "deploy")
    (text,) = re.findall(r"```yaml\n(# my-second-.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "kustomization.yaml").write_text(text)
    objects, others = parsed(kubectl("kustomize", tmp_path / "second")), rendered("host-ovs")
    second, first = (load({}, settings_of(each), None) for each in (objects, others))

    assert _asked_for(text) <= settings_of(objects).items()
    assert sorted(found["kind"] for found in objects) == ["ConfigMap", "DaemonSet"]
    for name in ("network", "conflist", "linux_bridge", "listen", "cluster_range"):
        assert getattr(second, name) != getattr(first, name), name
    for name in ("ovs_bridge", "vni"):
        assert getattr(second.overlay, name) != getattr(first.overlay, name), name
    assert (second.gateway, str(second.conflist.parent)) == ("none", SECONDARY_CONF_DIR)
    assert second.service_account == first.service_account
    (spec,) = pods_of(objects).values()
    flaxd = containers_of(spec)["flaxd"]
    assert {flaxd[probe]["httpGet"]["port"] for probe in PROBES} == {second.listen[1]}
    mounted = {mount["name"]: mount["mountPath"] for mount in flaxd["volumeMounts"]}
    assert mounted["cni-conf"] == SECONDARY_CONF_DIR
    (chosen,), (other,) = (
        [found["spec"]["selector"]["matchLabels"] for found in each if found["kind"] == "DaemonSet"]
        for each in (objects, others)
    )
    assert chosen != other


@each_overlay
def test_rights_come_after_what_narrows_them(overlay: str) -> None:
    """The cluster-wide rights are given after the admission policies that keep them to one Node."""
    kinds = [found["kind"] for found in rendered(overlay)]
    last = len(kinds) - 1 - kinds[::-1].index("ValidatingAdmissionPolicyBinding")
    assert "ValidatingAdmissionPolicy" not in kinds[last:]
    assert last < kinds.index("ClusterRole") < kinds.index("ClusterRoleBinding")


def _asked_for(kustomization: str) -> set[tuple[str, str]]:
    """The values that a kustomization sets; its components come after it and could undo them."""
    (generator,) = yaml.safe_load(kustomization)["configMapGenerator"]
    return {
        (name, value) for name, _, value in (each.partition("=") for each in generator["literals"])
    }


def _order(kustomization: str) -> Any:
    """In which order objects are applied, and deleted."""
    return yaml.safe_load(kustomization)["sortOptions"]


def _controller_agrees(objects: list[dict[str, Any]]) -> None:
    """The fixed address and port of the controller, if any, are those that Open vSwitch is told."""
    services = [found["spec"] for found in objects if found["kind"] == "Service"]
    addresses = [f"tcp:{spec['clusterIP']}:{spec['ports'][0]['port']}" for spec in services]
    assert list(load({}, settings_of(objects), None).overlay.controllers) == addresses


def test_controller_brings_its_star(tmp_path: Path) -> None:
    """The controller's component alone makes a star, since the controller floods."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    (tmp_path / "own").mkdir()
    own = {"resources": ["../deploy/base"], "components": ["../deploy/components/controller"]}
    (tmp_path / "own" / "kustomization.yaml").write_text(yaml.safe_dump(own))

    objects = parsed(kubectl("kustomize", tmp_path / "own"))

    _controller_agrees(objects)
    assert load({}, settings_of(objects), None).overlay.topology == "star"


def test_scrape_configuration_finds_flaxd() -> None:
    """The scrape in docs/monitoring.md keeps flaxd's container alone, and asks at its port."""
    guide = (CHECKOUT / "docs" / "monitoring.md").read_text()
    (text,) = re.findall(r"```yaml\n(scrape_configs:\n.*?)```", guide, re.DOTALL)
    (job,) = yaml.safe_load(text)["scrape_configs"]
    keep, address, _ = job["relabel_configs"]
    objects = rendered("bundled-ovs")
    found = {
        f"{found['spec']['template']['metadata']['labels']['app.kubernetes.io/name']};{name}"
        for found in objects
        if found["kind"] == "DaemonSet"
        for name in containers_of(found["spec"]["template"]["spec"])
    }

    assert keep["regex"] in found
    assert job["kubernetes_sd_configs"][0]["namespaces"]["names"] == [manifests.NAMESPACE]
    port = load({}, settings_of(objects), None).listen[1]
    assert address["replacement"] == f"$1:{port}"


@each_overlay
def test_accepted_and_nothing_new_the_second_time(plane: ControlPlane, overlay: str) -> None:
    """An overlay has no field that Kubernetes does not know; applied again it changes nothing."""
    config = plane.admin_kubeconfig()
    order = ("apply", "--server-side", "--validate=strict", "--force-conflicts", "-k")

    def versions() -> dict[str, str]:
        found = kubectl("get", "-k", DEPLOY / overlay, "--output=json", kubeconfig=config)
        metadata = [item["metadata"] for item in json.loads(found)["items"]]
        return {one["uid"]: one["resourceVersion"] for one in metadata}

    kubectl(*order, DEPLOY / overlay, kubeconfig=config)
    first = versions()
    kubectl(*order, DEPLOY / overlay, kubeconfig=config)

    assert versions() == first
    assert len(first) == len(rendered(overlay))


@each_overlay
def test_pod_security_lets_the_pods_in(plane: ControlPlane, overlay: str) -> None:
    """The namespace admits the pods; one with a stricter level would not."""
    plane.apply(DEPLOY / "base" / "namespace.yaml")
    strict = {"pod-security.kubernetes.io/enforce": "baseline"}
    _ensure_namespace(plane, "strict", strict)
    for name, spec in pods_of(rendered(overlay)).items():
        plain = {key: value for key, value in spec.items() if key != "serviceAccountName"}
        assert _create_pod(plane, "linen-system", name, spec) == 201
        assert _create_pod(plane, "strict", name, plain) == 403


def _ensure_namespace(plane: ControlPlane, name: str, labels: dict[str, str]) -> None:
    order = {"params": {"fieldManager": "tests", "force": "true"}}
    headers = {"Content-Type": "application/apply-patch+yaml"}
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    plane.request("PATCH", f"/api/v1/namespaces/{name}", body, headers=headers, **order)


def _create_pod(plane: ControlPlane, namespace: str, name: str, spec: dict[str, Any]) -> int:
    """The status of the answer. Nothing is stored."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    path = f"/api/v1/namespaces/{namespace}"
    headers = {"Content-Type": "application/apply-patch+yaml"}
    params = {"fieldManager": "tests"}
    plane.request(
        "PATCH", f"{path}/serviceaccounts/default", account, headers=headers, params=params
    )
    pod = {"metadata": {"name": name}, "spec": {**spec, "restartPolicy": "Always"}}
    answer = plane.admin.post(f"{path}/pods", json=pod, params={"dryRun": "All"})
    assert answer.status_code == 201 or "PodSecurity" in answer.text, answer.text
    return answer.status_code


@each_overlay
def test_least_privilege(overlay: str) -> None:
    """No container is privileged, writes into its image, or has a right that it does not need."""
    for spec in pods_of(rendered(overlay)).values():
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for name, container in containers_of(spec).items():
            context = container["securityContext"]
            assert context["capabilities"]["drop"] == ["ALL"], name
            assert set(context["capabilities"].get("add", [])) == CAPABILITIES[name]
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["allowPrivilegeEscalation"] is (name == "flaxd"), name
            assert "privileged" not in context, name


@each_overlay
def test_nothing_is_made_on_a_node_by_mistake(overlay: str) -> None:
    """Each path of a node says what it has to be: of one that does not, runtimes make a folder."""
    for spec in pods_of(rendered(overlay)).values():
        paths = [volume["hostPath"] for volume in spec.get("volumes", []) if "hostPath" in volume]
        assert [path for path in paths if not path.get("type")] == []
        # Only folders are made, and those alone that may be there without anything in them.
        assert {path["path"] for path in paths if path["type"] == "DirectoryOrCreate"} <= {
            "/dev/net",
            "/etc/cni/net.d",
            "/lib/modules",
            "/opt/cni/bin",
            "/run/openvswitch",
            "/var/lib/linen",
        }


def test_microk8s(tmp_path: Path) -> None:
    """The component for MicroK8s mounts its folders where flaxd looks, and changes nothing else."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    own = tmp_path / "deploy" / "host-ovs" / "kustomization.yaml"
    text = yaml.safe_load(own.read_text()) | {"components": ["../components/microk8s"]}
    own.write_text(yaml.safe_dump(text))
    plain, changed = rendered("host-ovs"), parsed(kubectl("kustomize", own.parent))

    volumes = {
        name: _hosts(pods_of(found)["linen"])
        for name, found in (("plain", plain), ("changed", changed))
    }
    assert volumes["changed"] == volumes["plain"] | {
        "cni-conf": "/var/snap/microk8s/current/args/cni-network",
        "cni-bin": "/var/snap/microk8s/current/opt/cni/bin",
    }
    for found in (plain, changed):
        pods_of(found)["linen"].pop("volumes")
    assert changed == plain


def _hosts(spec: dict[str, Any]) -> dict[str, str]:
    """The paths of the node that a pod has, by volume."""
    return {
        volume["name"]: volume["hostPath"]["path"]
        for volume in spec["volumes"]
        if "hostPath" in volume
    }


@each_overlay
def test_settings_are_flaxds(overlay: str) -> None:
    """Every LINEN_… in an overlay is a setting of flaxd, and has a value that flaxd takes."""
    environment = settings_of(rendered(overlay))
    known = set(map(variable_of, SETTINGS))

    assert environment.keys() <= known
    assert load({}, environment, None).node == "node1"


def test_kubelet_remembers_the_settings() -> None:
    """flaxd's ConfigMap is a volume, too: else kubelet forgets it, and needs the API server."""
    flaxd = pods_of(rendered("mesh"))["linen"]
    (container,) = flaxd["containers"]
    named = {source["configMapRef"]["name"] for source in container["envFrom"]}
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    volumes = [volume for volume in flaxd["volumes"] if volume["name"] in mounts]
    assert named == {volume["configMap"]["name"] for volume in volumes if "configMap" in volume}


def test_values_that_people_change_are_in_one_place() -> None:
    """The ConfigMap has a line for just those settings for which linenctl has an option."""
    (values,) = (found["data"] for found in rendered("host-ovs") if found["kind"] == "ConfigMap")
    assert set(values) == set(map(variable_of, manifests.VALUES))


@pytest.mark.parametrize("topology", ["flow", "mesh", "star"])
def test_overlays_named_after_a_topology(topology: str) -> None:
    """`flow`, `mesh` and `star` are what they say."""
    loaded = load({}, settings_of(rendered(topology)), None)
    assert loaded.overlay.topology == topology


@each_overlay
def test_images_are_of_this_version(overlay: str) -> None:
    """Images carry our version, and no name but those of packaging/Containerfile."""
    images = {
        container["image"]
        for spec in pods_of(rendered(overlay)).values()
        for container in containers_of(spec).values()
    }
    assert images <= {
        f"{manifests.BUILT}/{image}:{linen.__version__}" for image in manifests.IMAGES
    }


def test_names_agree_with_the_code() -> None:
    """Paths, ports and names of the manifests are those that flaxd and linenctl use."""
    objects = rendered("host-ovs")
    chosen = load({}, settings_of(objects), None)
    spec = pods_of(objects)[manifests.DAEMON_SET]
    flaxd = containers_of(spec)["flaxd"]
    hosts = _hosts(spec)
    mounts = flaxd["volumeMounts"]
    mounted = {mount["mountPath"] for mount in mounts if mount["name"] in hosts}
    socket = chosen.overlay.ovsdb.removeprefix("unix:").replace("/var/run/", "/run/")

    assert mounted == set(hosts.values())
    assert mounted == {
        str(chosen.conflist.parent),
        str(chosen.bin_dir),
        str(chosen.state_dir),
        socket.removesuffix("/db.sock"),
    }
    for probe in PROBES:
        target = flaxd[probe]["httpGet"]
        assert (target["host"], target["port"]) == chosen.listen
    account = AccountName(manifests.NAMESPACE, manifests.SERVICE_ACCOUNT)
    assert chosen.service_account == account
    assert f"system:serviceaccount:{account.namespace}:{account.name}" in _text("base/policy.yaml")
    assert f'"{nodes.PREFIX}"' in _text("base/policy.yaml")
    assert f"{nodes.MASTER_LABEL}=true" in _text("components/star/kustomization.yaml")


def _text(path: str) -> str:
    return (DEPLOY / path).read_text().replace("\n# ", " ")


@each_overlay
def test_controller_is_where_the_bridges_look_for_it(overlay: str) -> None:
    """Bridges have a controller just where one is deployed, at its address, and then in a star."""
    objects = rendered(overlay)
    _controller_agrees(objects)
    chosen = load({}, settings_of(objects), None).overlay
    assert not chosen.controllers or chosen.topology == "star"
