"""A Kubernetes cluster on loopback: a real API server, its controllers and its scheduler; a thread plays the nodes' kubelet."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.kafka.broker import free_port, unavailable
from tests.support.deployments import tool
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

PROGRAMS = ROOT / ".deploy" / "kubernetes"
NODES = ("a", "b", "c")
CONTROLLERS = (
    "statefulset-controller",
    "job-controller",
    "disruption-controller",
    "persistentvolume-binder-controller",
    "persistentvolumeclaim-protection-controller",
    "garbage-collector-controller",
)
CONFIG = """
apiVersion: v1
kind: Config
current-context: test
clusters: [{{name: test, cluster: {{server: "https://127.0.0.1:{port}", insecure-skip-tls-verify: true}}}}]
users: [{{name: test, user: {{token: secret}}}}]
contexts: [{{name: test, context: {{cluster: test, user: test, namespace: pixel}}}}]
"""

GONE = ("--grace-period=0", "--force", "--wait=false", "--ignore-not-found")

Thing = dict[str, Any]


class Cluster:
    """What kubectl reaches, in the namespace `pixel`."""

    def __init__(self, config: Path) -> None:
        self._config = config

    def kubectl(self, *arguments: str, given: object = None, code: int = 0) -> str:
        """The output of a kubectl that ends with ``code``; ``given`` is its standard input, as JSON."""
        command = [str(PROGRAMS / "kubectl"), "--kubeconfig", str(self._config), *arguments]
        text = None if given is None else json.dumps(given)
        ended = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
        assert ended.returncode == code, (arguments, ended.stdout, ended.stderr)
        return ended.stdout + ended.stderr

    def create(self, thing: Thing) -> None:
        self.kubectl("create", "--filename=-", given=thing)

    def get(self, kind: str) -> list[Thing]:
        """All of a kind."""
        items: list[Thing] = json.loads(self.kubectl("get", kind, "--output=json"))["items"]
        return items

    def set_status(self, kind: str, name: str, status: Thing) -> None:
        self.kubectl("patch", kind, name, "--subresource=status", f"--patch={json.dumps({'status': status})}")


def ready(*, succeeded: bool) -> Thing:
    """The status of a pod that runs, or that has done its work."""
    state: Thing = {"terminated": {"exitCode": 0}} if succeeded else {"running": {}}
    container = {
        "name": "pixelcore",
        "ready": not succeeded,
        "restartCount": 0,
        "image": "",
        "imageID": "",
        "state": state,
    }
    status, now = "False" if succeeded else "True", datetime.now(timezone.utc).isoformat(timespec="seconds")
    conditions = [{"type": kind, "status": status, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
    return {
        "phase": "Succeeded" if succeeded else "Running",
        "conditions": conditions,
        "containerStatuses": [container],
    }


class Kubelet(threading.Thread):
    """Says of each pod with a node that it runs; a Job's pod ends at once, and a pod that is to be deleted goes."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self._cluster = cluster
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.2):
            for pod in self._cluster.get("pods"):
                name, phase = pod["metadata"]["name"], pod["status"]["phase"]
                if "deletionTimestamp" in pod["metadata"]:
                    self._cluster.kubectl("delete", "pod", name, *GONE)
                elif "nodeName" in pod["spec"] and phase == "Pending":
                    of_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job"
                    self._cluster.set_status("pod", name, ready(succeeded=of_job))

    def end(self) -> None:
        self._over.set()
        self.join()


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """A cluster of three nodes, whose volumes are made by hand."""
    if not (PROGRAMS / "kubectl").exists():
        unavailable("no .deploy/kubernetes: `make .deploy/kubernetes` builds it")
    store, port = f"http://127.0.0.1:{free_port()}", free_port()
    config, key, tokens = (str(directory / name) for name in ("config", "key", "tokens.csv"))
    Path(tokens).write_text("secret,test,test,system:masters\n")
    Path(config).write_text(CONFIG.format(port=port))
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    running = Cluster(Path(config))
    with ExitStack() as stack:
        log = stack.enter_context((directory / "log").open("wb"))

        def start(program: str, **flags: object) -> None:
            command = [program, *(f"--{name.replace('_', '-')}={value}" for name, value in flags.items())]
            process = subprocess.Popen(command, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)

        client = {"listen_client_urls": store, "advertise_client_urls": store}
        peers = f"http://127.0.0.1:{free_port()}"
        start(tool("etcd", "etcd-server"), data_dir=directory / "etcd", listen_peer_urls=peers, **client)
        loopback = "127.0.0.1"
        start(
            str(PROGRAMS / "kube-apiserver"),
            etcd_servers=store,
            cert_dir=directory,
            bind_address=loopback,
            secure_port=port,
            token_auth_file=tokens,
            authorization_mode="AlwaysAllow",
            service_cluster_ip_range="10.0.0.0/24",
            service_account_issuer="https://test",
            service_account_key_file=key,
            service_account_signing_key_file=key,
            disable_admission_plugins="ServiceAccount,TaintNodesByCondition",
        )
        wait_for(lambda: _answers(running), 120, f"see {log.name}")
        for name, more in (
            ("kube-controller-manager", {"controllers": ",".join(CONTROLLERS)}),
            ("kube-scheduler", {}),
        ):
            address = {"bind_address": loopback, "secure_port": free_port()}
            start(str(PROGRAMS / name), kubeconfig=config, leader_elect="false", **address, **more)
        _furnish(running, directory)
        kubelet = Kubelet(running)
        kubelet.start()
        stack.callback(kubelet.end)
        yield running


def _answers(running: Cluster) -> bool:
    try:
        return running.kubectl("get", "--raw=/readyz") == "ok"
    except AssertionError:
        return False


def _furnish(running: Cluster, directory: Path) -> None:
    """Nodes, a namespace that enforces the restricted standard, and volumes that may grow."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    running.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "pixel", "labels": labels}})
    storage = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/no-provisioner"}
    default = {"name": "disks", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    running.create({**storage, "metadata": default, "allowVolumeExpansion": True})
    for name in NODES:
        node_labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{name}"}
        running.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": node_labels}})
        size = {"cpu": "4", "memory": "8Gi", "pods": "10", "ephemeral-storage": "100Gi"}
        conditions = [{"type": "Ready", "status": "True", "reason": "Test"}]
        running.set_status("node", name, {"capacity": size, "allocatable": size, "conditions": conditions})
        volume = {"storageClassName": "disks", "capacity": {"storage": "12Gi"}, "accessModes": ["ReadWriteOnce"]}
        running.create(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": f"disk-{name}"},
                "spec": {**volume, "hostPath": {"path": str(directory)}},
            }
        )
