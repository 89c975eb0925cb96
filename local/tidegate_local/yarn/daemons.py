"""The processes of one cluster's YARN: a ResourceManager, and a NodeManager for each instance."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from tidegate_local import java, processes
from tidegate_local.settings import Settings
from tidegate_local.yarn import packages, site

_RESOURCE_MANAGER = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager"
_NODE_MANAGER = "org.apache.hadoop.yarn.server.nodemanager.NodeManager"
_ADMIN = "org.apache.hadoop.yarn.client.cli.RMAdminCLI"

_JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    # Hadoop 3.3 looks into java.lang, which Java 17 shuts.
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "-Djava.net.preferIPv4Stack=true",
)
_MANAGER_MB, _NODE_MB = 224, 128

_DECOMMISSION_S = 3600
"""How long containers of a node that is to leave may go on: EMR's own limit."""

_hosts = itertools.cycle(range(2, 255))
_lock = threading.Lock()


class Daemons:
    """Starts and ends them. Each has a loopback address and a folder of its own."""

    def __init__(self, settings: Settings, cluster_id: str) -> None:
        self._settings = settings
        self._folder = site.cluster_dir(settings, cluster_id)
        self._exclude_file = self._folder / "exclude"
        self._manager_address = _next_address(settings.port)
        self._addresses: dict[str, str] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._left: list[str] = []
        self.web_url = f"http://{self._manager_address}:{site.WEB_PORT}"

    @property
    def addresses(self) -> dict[str, str]:
        """Of the nodes that were started and not ended, by instance."""
        return dict(self._addresses)

    @property
    def manager_is_alive(self) -> bool:
        process = self._processes.get("manager")
        return process is not None and process.poll() is None

    def is_alive(self, instance_id: str) -> bool:
        process = self._processes.get(instance_id)
        return process is not None and process.poll() is None

    def start_manager(self) -> None:
        """Start the ResourceManager, and write the configuration for who submits to it."""
        for needed in (self._folder, self._settings.tmp_dir / "home"):
            needed.mkdir(parents=True, exist_ok=True)
        self._exclude_file.write_text("")
        shared = {
            "core-site.xml": site.core_site(self._folder),
            "yarn-site.xml": site.yarn_site(self._manager_address, self._exclude_file),
        }
        site.write(site.client_dir(self._settings, self._folder.name), shared)
        site.write(self._folder / "manager", {**shared, "capacity-scheduler.xml": site.capacity_scheduler()})
        self._start("manager", self._folder / "manager", _RESOURCE_MANAGER, _MANAGER_MB)

    def start_node(self, instance_id: str) -> None:
        """Start a NodeManager; it tells the ResourceManager by itself that it is there."""
        address, folder = _next_address(self._settings.port), self._folder / instance_id
        self._addresses[instance_id] = address
        yarn = {**site.yarn_site(self._manager_address, self._exclude_file), **site.node_site(address, folder)}
        site.write(folder, {"core-site.xml": site.core_site(folder), "yarn-site.xml": yarn})
        self._start(instance_id, folder, _NODE_MANAGER, _NODE_MB)

    def decommission(self, instance_ids: Sequence[str]) -> None:
        """Have the ResourceManager give nodes no more work; what runs on them may end."""
        self._left += [self._addresses[each] for each in instance_ids if each in self._addresses]
        self._exclude_file.write_text("".join(f"{address}\n" for address in self._left))
        command = self._command(self._folder / "client", _ADMIN, _NODE_MB)
        subprocess.run(
            [*command, "-refreshNodes", "-g", str(_DECOMMISSION_S), "-server"],
            env=self._environment(self._folder / "client"),
            cwd=self._folder,
            capture_output=True,
            timeout=60,
            check=True,
        )

    def kill_node(self, instance_id: str) -> None:
        """End a node and all that it has started at once, as EC2 does when it takes a Spot Instance back."""
        process = self._processes.pop(instance_id, None)
        self._addresses.pop(instance_id, None)
        processes.kill_marked(site.NODE, str(self._folder / instance_id))
        if process is not None:
            process.wait()
            processes.forget(self._settings.pids_dir, process.pid)

    def stop(self) -> None:
        """End all of them."""
        for instance_id in list(self._addresses):
            self.kill_node(instance_id)
        self.kill_node("manager")

    def _start(self, name: str, folder: Path, main_class: str, heap_mb: int) -> None:
        (folder / "log4j.properties").write_text(site.logging())
        with (folder / "out.log").open("wb") as log:
            self._processes[name] = processes.start(
                self._settings.pids_dir,
                f"yarn-{name}",
                self._command(folder, main_class, heap_mb),
                cwd=folder,
                environment=self._environment(folder),
                stdout=log,
                stderr=log,
            )

    def _command(self, folder: Path, main_class: str, heap_mb: int) -> list[str]:
        return [
            str(java.find_java_home(os.environ) / "bin" / "java"),
            f"-Xmx{heap_mb}m",
            *_JAVA_OPTIONS,
            f"-Djava.io.tmpdir={self._settings.tmp_dir}",
            f"-Duser.home={self._settings.tmp_dir / 'home'}",
            "-cp",
            f"{folder}:{packages.folder(self._settings)}/*",
            main_class,
        ]

    def _environment(self, folder: Path) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._settings.tmp_dir / "home"),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "JAVA_HOME": str(java.find_java_home(os.environ)),
            "HADOOP_CONF_DIR": str(folder),
            "YARN_CONF_DIR": str(folder),
            site.NODE: str(folder),
        }


def _next_address(port: int) -> str:
    """A loopback address that is this cloud's, by its port, and that was not used of late: daemons leave their ports
    some seconds after they are gone."""
    with _lock:
        return f"127.{16 + port // 256 % 200}.{port % 256}.{next(_hosts)}"
