"""Gap: nothing ever goes wrong in ministack. Here it does, on demand: calls, functions, events, clusters and steps.

What is to go wrong stands in one file (`plan.py`), in words that `kinds.py` checks. `calls.py` strikes at requests to
any service, `functions.py` at the processes of functions and steps, `events.py` at what EventBridge delivers;
clusters and steps are struck where they live (`emr/lifecycle.py`).
"""

from __future__ import annotations


def install() -> None:
    """Put the strikes where every call, function and event comes by. With no fault planned they change nothing."""
    from tidegate_local.faults import calls, events, functions  # noqa: PLC0415 - they read ministack's environment

    calls.install()
    events.install()
    functions.install()
