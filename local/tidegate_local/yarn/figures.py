"""What a ResourceManager says of itself, and EMR's CloudWatch metrics of it. Pure but for :func:`read`.

Sources: Apache Hadoop, "ResourceManager REST API's"; Amazon EMR Management Guide, "Monitoring Amazon EMR metrics with
CloudWatch", which says how each metric is made.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_PATIENCE_S = 5


@dataclass(frozen=True)
class NodeFigures:
    """One NodeManager, as the ResourceManager sees it."""

    state: str
    """`RUNNING`, `DECOMMISSIONING`, `DECOMMISSIONED`, `LOST` ..."""
    containers: int


@dataclass(frozen=True)
class Figures:
    """A ResourceManager at one moment; memory in MB."""

    apps_pending: int = 0
    apps_running: int = 0
    containers_allocated: int = 0
    containers_pending: int = 0
    containers_reserved: int = 0
    allocated_mb: int = 0
    available_mb: int = 0
    pending_mb: int = 0
    total_mb: int = 0
    nodes: Mapping[str, NodeFigures] = field(default_factory=dict)
    """By their addresses."""

    @property
    def working(self) -> frozenset[str]:
        """Addresses of the nodes that take or still do work."""
        return frozenset(
            address for address, node in self.nodes.items() if node.state in ("RUNNING", "DECOMMISSIONING")
        )


def read(web_url: str) -> Figures | None:
    """Ask the ResourceManager at `web_url`; None while it doesn't answer."""
    try:
        metrics = _get(f"{web_url}/ws/v1/cluster/metrics")["clusterMetrics"]
        nodes = _get(f"{web_url}/ws/v1/cluster/nodes")["nodes"]
    except (urllib.error.URLError, OSError, ValueError, KeyError):
        return None
    return of(metrics, (nodes or {}).get("node", []))


def of(metrics: Mapping[str, Any], nodes: list[Mapping[str, Any]]) -> Figures:
    """The two answers as one."""
    return Figures(
        apps_pending=metrics["appsPending"],
        apps_running=metrics["appsRunning"],
        containers_allocated=metrics["containersAllocated"],
        containers_pending=metrics["containersPending"],
        containers_reserved=metrics["containersReserved"],
        allocated_mb=metrics["allocatedMB"],
        available_mb=metrics["availableMB"],
        pending_mb=metrics["pendingMB"],
        total_mb=metrics["totalMB"],
        nodes={each["nodeHostName"]: NodeFigures(each["state"], each.get("numContainers", 0)) for each in nodes},
    )


def emr_metrics(figures: Figures, requested_units: int, running_units: int) -> dict[str, float]:
    """Namespace AWS/ElasticMapReduce, by metric. Units are of managed scaling: without the primary.

    HDFSUtilization is not among them: there is no HDFS here.
    """
    pending, allocated = figures.containers_pending, figures.containers_allocated
    metrics: dict[str, float] = {
        "AppsPending": figures.apps_pending,
        "AppsRunning": figures.apps_running,
        "ContainerAllocated": allocated,
        "ContainerPending": pending,
        "ContainerReserved": figures.containers_reserved,
        # "If ContainerAllocated = 0, then ContainerPendingRatio = ContainerPending."
        "ContainerPendingRatio": pending / allocated if allocated else pending,
        "MemoryAllocatedMB": figures.allocated_mb,
        "MemoryAvailableMB": figures.available_mb,
        "MemoryTotalMB": figures.total_mb,
        "MRTotalNodes": len(figures.nodes),
        "MRActiveNodes": sum(node.state == "RUNNING" for node in figures.nodes.values()),
        "MRLostNodes": sum(node.state == "LOST" for node in figures.nodes.values()),
        "TotalUnitsRequested": requested_units,
        "TotalUnitsRunning": running_units,
    }
    if figures.total_mb:
        metrics["YARNMemoryAvailablePercentage"] = 100 * figures.available_mb / figures.total_mb
    return metrics


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=_PATIENCE_S) as answer:  # noqa: S310 - loopback
        return json.load(answer)
