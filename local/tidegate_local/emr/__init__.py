"""Gap: ministack's EMR is a stub whose steps complete at once and run nothing.

Here clusters have a life: they start, bootstrap, run or wait, and terminate, at a scaled pace; steps are
real `spark-submit` processes; the step concurrency, idle policies, fleets and EventBridge events are
there; clusters and steps die on demand in each of their states (`faults/`).
"""

from __future__ import annotations

import atexit

from tidegate_local.emr import authorization
from tidegate_local.emr.engine import Engine
from tidegate_local.emr.handlers import Handlers, as_http
from tidegate_local.emr.roles import Iam
from tidegate_local.settings import Settings, current


def install(settings: Settings | None = None) -> Engine:
    """Put this EMR in the place of ministack's; its threads start at once."""
    from ministack.core.responses import get_account_id, get_region  # noqa: PLC0415 - reads its environment
    from ministack.services import emr as stub  # noqa: PLC0415
    from ministack.services import iam as ministack_iam  # noqa: PLC0415

    engine = Engine(settings or current())

    def arn_of(cluster_id: str) -> str:
        return f"arn:aws:elasticmapreduce:{get_region()}:{get_account_id()}:cluster/{cluster_id}"

    def iam() -> Iam:
        return Iam(ministack_iam._instance_profiles, ministack_iam._roles)

    operations = {name: as_http(operation) for name, operation in Handlers(engine, arn_of, iam).table().items()}
    # What the stub did on its own records would now be a lie; only the account's setting stays.
    kept = {
        name: handler for name, handler in stub._HANDLERS.items() if name.endswith("BlockPublicAccessConfiguration")
    }
    stub._HANDLERS.clear()
    stub._HANDLERS.update(kept, **operations)
    stub.reset = engine.reset
    authorization.install(lambda cluster_id: _tags_of(engine, cluster_id))
    engine.start()
    atexit.register(engine.stop)
    return engine


def _tags_of(engine: Engine, cluster_id: str) -> dict[str, str]:
    with engine.reading():
        cluster = engine.clusters.get(cluster_id)
        tags = cluster.request.get("Tags") or [] if cluster is not None else []
        return {str(tag["Key"]): str(tag["Value"]) for tag in tags}
