"""The instances of a cluster's fleets: as many as their targets ask for. Pure.

Without YARN an instance is a record, there and gone at once. With it, the daemon says when (`keeper.py`).
"""

from __future__ import annotations

from collections.abc import Collection

from tidegate_local.emr.model import Cluster, Fleet, Instance, InstanceState, Reason, new_id

RESIZED = Reason("INSTANCE_FLEET_RESIZE", "The fleet was resized")
FAILED = Reason("INSTANCE_FAILURE", "The instance failed")
RECLAIMED = Reason("INSTANCE_FAILURE", "Spot Instance was terminated by EC2")


def provide(cluster: Cluster, now_s: float) -> None:
    """Bring the instances in line with their fleets' targets.

    Those that go are the ones with the fewest containers, of these the newest.
    """
    for fleet in cluster.fleets:
        for market, target in (("ON_DEMAND", fleet.on_demand), ("SPOT", fleet.spot)):
            living = fleet.living(market)
            fleet.instances += [_new(fleet, market, now_s) for _ in range(target - len(living))]
            by_use = sorted(living, key=lambda each: (cluster.used.get(each.id, 0), -each.created_s))
            for each in by_use[: max(0, len(living) - target)]:
                each.state = InstanceState.LEAVING
        if not cluster.has_nodes or fleet.type == "MASTER":
            settle(fleet, {each.id for each in fleet.living()}, now_s)


def settle(fleet: Fleet, there: Collection[str], now_s: float) -> None:
    """Note which instances are `there`; those that were to leave and aren't have left."""
    for each in fleet.instances:
        if each.state is InstanceState.PROVISIONING and each.id in there:
            each.state, each.ready_s = InstanceState.RUNNING, now_s
        elif each.state is InstanceState.LEAVING and each.id not in there:
            each.end(now_s, RESIZED)


def has_core(cluster: Cluster) -> bool:
    """Whether all that a cluster needs to run steps is there; task instances may come later, as on EMR."""
    needed = [fleet for fleet in cluster.fleets if fleet.type != "TASK"]
    return all(fleet.running() >= fleet.on_demand + fleet.spot for fleet in needed)


def _new(fleet: Fleet, market: str, now_s: float) -> Instance:
    configs = fleet.config.get("InstanceTypeConfigs") or [{}]
    instance_id = new_id("ci")
    ec2_id = f"i-{instance_id[3:].lower()}{len(fleet.instances):04d}"
    return Instance(instance_id, ec2_id, str(configs[0].get("InstanceType", "")), market, now_s)
