"""Gap: a state machine whose definition file is YAML deploys, and then every execution fails as not parsable.

CloudFormation takes YAML and JSON; here YAML becomes JSON when the definition is read.
"""

from __future__ import annotations

import json
from typing import Any

import yaml
from ministack.services.cloudformation import provisioners


def install() -> None:
    """Wrap the reading of a template's definition."""
    read = provisioners._sfn_definition

    def read_yaml_too(props: dict[str, Any]) -> str:
        return as_json(read(props))

    provisioners._sfn_definition = read_yaml_too


def as_json(definition: str) -> str:
    """The definition as JSON. What is neither comes back as it is: ministack's own refusal names it."""
    try:
        json.loads(definition)
    except ValueError:
        try:
            return json.dumps(yaml.safe_load(definition))
        except yaml.YAMLError:
            return definition
    return definition
