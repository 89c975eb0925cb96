"""Gap: ministack's CloudFormation knows no AWS::EMR::SecurityConfiguration and refuses a template that has one.

Here it is a record with a name. Nothing of what it asks for (encryption of local disks, IMDSv2) exists on a laptop.
"""

import json
from typing import Any

from ministack.services.cloudformation import provisioners

TYPE = "AWS::EMR::SecurityConfiguration"
_configurations: dict[str, str] = {}


def install() -> None:
    """Register the resource type with CloudFormation."""
    provisioners._RESOURCE_HANDLERS[TYPE] = {"create": _create, "delete": _delete}


def _create(logical_id: str, props: dict[str, Any], stack_name: str) -> tuple[str, dict[str, str]]:
    name = props.get("Name") or provisioners._physical_name(stack_name, logical_id, max_len=255)
    _configurations[name] = json.dumps(props["SecurityConfiguration"])
    return name, {}


def _delete(physical_id: str, _props: dict[str, Any]) -> None:
    _configurations.pop(physical_id, None)
