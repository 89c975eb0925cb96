"""Hadoop's configuration of a cluster's daemons and of its clients. Pure but for :func:`write`.

What Hadoop documents in core-default.xml and yarn-default.xml is left as it is there, except for what a laptop needs:
small units, quick heartbeats, and nothing outside the cluster's own folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from tidegate_local import processes
from tidegate_local.settings import Settings

MASTER_MB = 896
"""A container of Spark's application master in client mode: 512 MB, and 384 beside the heap."""

EXECUTOR_MB = 1_408
"""A container of an executor: 1 GB, and 384 MB beside the heap."""

UNIT_MB = MASTER_MB + EXECUTOR_MB
"""What YARN may give away of one instance: an application master and an executor of one core."""

NODE = "TIDEGATE_LOCAL_NODE"
"""Environment variable of a NodeManager and of all that it starts: its folder."""

WEB_PORT, NODE_PORT = 8088, 8041

Properties = Mapping[str, str]


def cluster_dir(settings: Settings, cluster_id: str) -> Path:
    """Everything of a cluster's YARN: a folder each daemon, and `client` for who submits to it."""
    return settings.run_dir / "yarn" / cluster_id


def client_dir(settings: Settings, cluster_id: str) -> Path:
    """`HADOOP_CONF_DIR` of a step."""
    return cluster_dir(settings, cluster_id) / "client"


def core_site(folder: Path) -> Properties:
    """`core-site.xml`: no HDFS, the file system is this machine's."""
    return {"fs.defaultFS": "file:///", "hadoop.tmp.dir": str(folder / "tmp")}


def capacity_scheduler() -> Properties:
    """`capacity-scheduler.xml`: one queue. Masters get half of the memory, so that executors find room beside them."""
    return {
        "yarn.scheduler.capacity.root.queues": "default",
        "yarn.scheduler.capacity.root.default.capacity": "100",
        "yarn.scheduler.capacity.maximum-am-resource-percent": "0.5",
    }


def yarn_site(manager: str, exclude_file: Path) -> Properties:
    """`yarn-site.xml` of all: the ResourceManager at address `manager`, and whom it takes no longer."""
    return {
        "yarn.resourcemanager.hostname": manager,
        "yarn.resourcemanager.bind-host": manager,
        "yarn.resourcemanager.nodes.exclude-path": str(exclude_file),
        "yarn.scheduler.minimum-allocation-mb": "128",
        "yarn.scheduler.maximum-allocation-mb": str(UNIT_MB),
        "yarn.resourcemanager.nodemanagers.heartbeat-interval-ms": "250",
        # EMR notices a node that is gone by its instance; here only its silence tells.
        "yarn.nm.liveness-monitor.expiry-interval-ms": "5000",
    }


def node_site(address: str, folder: Path) -> Properties:
    """`yarn-site.xml` of a NodeManager, beside :func:`yarn_site`."""
    return {
        "yarn.nodemanager.hostname": address,
        "yarn.nodemanager.bind-host": address,
        "yarn.nodemanager.address": f"{address}:{NODE_PORT}",
        "yarn.nodemanager.localizer.address": f"{address}:8040",
        "yarn.nodemanager.webapp.address": f"{address}:8042",
        "yarn.nodemanager.local-dirs": str(folder / "local"),
        "yarn.nodemanager.log-dirs": str(folder / "logs"),
        "yarn.nodemanager.resource.memory-mb": str(UNIT_MB),
        "yarn.nodemanager.pmem-check-enabled": "false",
        "yarn.nodemanager.vmem-check-enabled": "false",
        # A laptop's disk is fuller than 90 % as a matter of course.
        "yarn.nodemanager.disk-health-checker.enable": "false",
        "yarn.nodemanager.env-whitelist": f"JAVA_HOME,{NODE},{processes.MARKER}",
    }


def logging() -> str:
    """`log4j.properties` of a daemon: what is wrong, in its out.log."""
    return (
        "log4j.rootLogger=WARN,out\n"
        "log4j.appender.out=org.apache.log4j.ConsoleAppender\n"
        "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
        "log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %c{1}: %m%n\n"
    )


def write(folder: Path, files: Mapping[str, Properties]) -> None:
    """Write files of Hadoop's configuration format into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, properties in files.items():
        body = "".join(
            f"<property><name>{escape(key)}</name><value>{escape(value)}</value></property>\n"
            for key, value in properties.items()
        )
        (folder / name).write_text(f"<configuration>\n{body}</configuration>\n", encoding="utf-8")
