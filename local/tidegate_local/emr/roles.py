"""Do the roles that a RunJobFlow names exist, and can they do their work? Pure.

On AWS a missing instance profile is refused at once; a missing or powerless service role shows minutes
later, as a cluster that ends with VALIDATION_ERROR. A template that confuses a role with a profile, or
forgets EMR's tag, shall fail here in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tidegate_local.emr.model import Json, Reason
from tidegate_local.emr.validation import EmrError

REQUIRED_TAG = ("for-use-with-amazon-emr-managed-policies", "true")
_POLICY_V2 = "/AmazonEMRServicePolicy_v2"


@dataclass(frozen=True)
class Iam:
    """What of IAM matters to EMR."""

    instance_profiles: Collection[str]
    """Their names."""
    roles: Mapping[str, Mapping[str, Any]]
    """By name; `AttachedPolicies` lists the ARNs of managed policies."""


def find_flaw(request: Json, iam: Iam) -> Reason | None:
    """Why the cluster will end with errors, if it will. Raises :class:`EmrError` for what is refused."""
    profile = request["JobFlowRole"]
    if profile.rsplit("/", 1)[-1] not in iam.instance_profiles:
        raise EmrError(f"Invalid InstanceProfile: {profile}.")
    role = request["ServiceRole"]
    found = iam.roles.get(role.rsplit("/", 1)[-1])
    if found is None:
        return Reason("VALIDATION_ERROR", f"EMR service role {role} is invalid")
    tags = {tag.get("Key"): tag.get("Value") for tag in request.get("Tags") or []}
    restricted = any(str(policy).endswith(_POLICY_V2) for policy in found.get("AttachedPolicies", []))
    if restricted and tags.get(REQUIRED_TAG[0]) != REQUIRED_TAG[1]:
        return Reason(
            "VALIDATION_ERROR",
            f"Service role {role} has insufficient EC2 permissions: its policy AmazonEMRServicePolicy_v2 "
            f"works only on clusters tagged {REQUIRED_TAG[0]}={REQUIRED_TAG[1]}",
        )
    return None
