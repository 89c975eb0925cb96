"""What sizing decides is what EMR's RunJobFlow takes: held against the service's own model."""

from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from tidegate.launches import LAUNCH_OPTIONS
from tidegate.sizing import size_cluster

GIB = 1024**3


@pytest.fixture(scope="module")
def request_shape() -> Any:
    return botocore.session.get_session().get_service_model("emr").operation_model("RunJobFlow").input_shape


def request(plan: dict[str, Any]) -> dict[str, Any]:
    """As `Create cluster` of statemachine/run.asl.yaml puts a plan into the call."""
    scaling = plan["scaling"]
    return {
        "Name": plan["name"],
        "Instances": {"InstanceFleets": plan["fleets"]},
        "StepConcurrencyLevel": plan["step_concurrency"],
        "AutoTerminationPolicy": {"IdleTimeout": plan["idle_timeout_s"]},
        "Tags": plan["tags"],
        "ManagedScalingPolicy": {
            "ComputeLimits": {
                "UnitType": "InstanceFleetUnits",
                "MinimumCapacityUnits": scaling["minimum_units"],
                "MaximumCapacityUnits": scaling["maximum_units"],
                "MaximumOnDemandCapacityUnits": scaling["maximum_on_demand_units"],
                "MaximumCoreCapacityUnits": scaling["maximum_core_units"],
            }
        },
    }


@pytest.mark.parametrize("size_bytes", [0, 1, 4 * GIB, 4 * GIB + 1, 40 * GIB, 10**15])
@pytest.mark.parametrize("steps", [1, 4, 300])
@pytest.mark.parametrize("launch", range(len(LAUNCH_OPTIONS)))
def test_every_size_is_a_request_that_emr_takes(request_shape: Any, size_bytes: int, steps: int, launch: int) -> None:
    plan = size_cluster("tidegate", "r", 0, size_bytes, steps, launch=launch).as_payload()
    report = ParamValidator().validate(request(plan), request_shape)
    assert not report.has_errors(), report.generate_report()
    # AND what the model does not say: EMR User Guide, "Instance fleet options" and "Managed scaling parameters"
    by_type = {fleet["InstanceFleetType"]: fleet for fleet in plan["fleets"]}
    for fleet in by_type.values():
        assert fleet["TargetOnDemandCapacity"] + fleet["TargetSpotCapacity"] >= 1
        assert ("SpotSpecification" in fleet["LaunchSpecifications"]) == (fleet["TargetSpotCapacity"] > 0)
    scaling = plan["scaling"]
    launched = sum(
        fleet["TargetOnDemandCapacity"] + fleet["TargetSpotCapacity"]
        for kind, fleet in by_type.items()
        if kind != "MASTER"
    )
    assert scaling["minimum_units"] <= launched <= scaling["maximum_units"]
    assert scaling["maximum_on_demand_units"] <= scaling["maximum_units"]
    assert scaling["maximum_core_units"] <= scaling["maximum_units"]
    assert 60 <= plan["idle_timeout_s"] <= 604_800
    assert 1 <= plan["step_concurrency"] <= 256


def test_a_wrong_fleet_would_be_seen(request_shape: Any) -> None:
    plan = size_cluster("tidegate", "r", 0, 40 * GIB, 1).as_payload()
    plan["fleets"][2]["LaunchSpecifications"]["SpotSpecification"]["TimeoutDurationMinutes"] = "10"
    assert ParamValidator().validate(request(plan), request_shape).has_errors()
