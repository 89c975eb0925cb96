"""The EMR that lives: holds all clusters, lets time pass over them and carries out what follows.

One thread owns time: it advances every cluster, sleeps until the next thing is due or somebody wakes it.
Handlers change the model under the lock and leave their effects in the outbox, so that effects happen in
the order of their causes. Events are sent by a second thread, since a target may take its time.
"""

from __future__ import annotations

import contextvars
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tidegate_local.emr import events, lifecycle, metrics
from tidegate_local.emr.keeper import Keeper
from tidegate_local.emr.lifecycle import ClusterChanged, Effect, KillStep, StartStep, StepChanged, Waits
from tidegate_local.emr.model import OVER, Cluster, ClusterState, Json
from tidegate_local.emr.step_process import StepOrder, StepProcess
from tidegate_local.faults.plan import faults_of
from tidegate_local.settings import Settings

logger = logging.getLogger("tidegate.local.emr")


class Engine:
    """All clusters of the local cloud. :meth:`editing` gives access under the lock."""

    def __init__(self, settings: Settings, publish: Callable[[Json], None] = events.publish) -> None:
        self.settings = settings
        self.waits = Waits.of(settings)
        self.clusters: dict[str, Cluster] = {}
        self._publish = publish
        self._contexts: dict[str, contextvars.Context] = {}
        self._processes: dict[tuple[str, str], StepProcess] = {}
        self._keepers: dict[str, Keeper] = {}
        self._faults = faults_of(settings.faults_file)
        self._outbox: list[tuple[Cluster, Effect]] = []
        self._changed = threading.Condition(threading.RLock())
        self._events: queue.SimpleQueue[tuple[contextvars.Context, Json]] = queue.SimpleQueue()
        self._stopped = False

    def start(self) -> None:
        """Start the two threads; they end with the process."""
        for work in (self._live, self._tell):
            threading.Thread(target=work, name=f"emr{work.__name__}", daemon=True).start()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold the lock for a look at the model."""
        with self._changed:
            yield

    @contextmanager
    def editing(self) -> Iterator[float]:
        """Hold the lock for a short change of the model, wake the engine after it. Gives the time."""
        with self._changed:
            yield time.time()
            self._changed.notify()

    def add(self, cluster: Cluster) -> None:
        """Take a new cluster in; its events carry the account and region of this request."""
        self._contexts[cluster.id] = contextvars.copy_context()
        self.clusters[cluster.id] = cluster

    def post(self, cluster: Cluster, effects: list[Effect]) -> None:
        """Have effects carried out. Only within :meth:`editing`."""
        self._outbox += [(cluster, effect) for effect in effects]

    def stop(self) -> None:
        """The cloud goes down: all steps end now, nothing starts any more."""
        with self._changed:
            self._stopped = True
            running, keepers = list(self._processes.values()), list(self._keepers.values())
        for process in running:
            process.kill_now()
        for keeper in keepers:
            keeper.stop()

    def reset(self) -> None:
        """Forget all clusters; their steps are killed."""
        with self._changed:
            running = list(self._processes.values())
            self.clusters.clear()
        for process in running:
            process.kill(grace_s=1)

    def _live(self) -> None:
        while not self._stopped:
            try:
                self._turn()
            except Exception:
                logger.exception("The local EMR stumbled; it goes on.")
                time.sleep(0.2)

    def _turn(self) -> None:
        with self._changed:
            if not self._outbox:
                self._changed.wait(timeout=self._seconds_to_next())
            for cluster in self.clusters.values():
                if cluster.state not in OVER:
                    busy = self._is_busy(cluster)
                    self.post(
                        cluster,
                        lifecycle.advance(cluster, time.time(), self.waits, self._faults, busy=busy),
                    )
            due, self._outbox = self._outbox, []
            for cluster, effect in due:
                self._carry_out(cluster, effect)

    def _seconds_to_next(self) -> float | None:
        wakes = [
            lifecycle.next_wake_s(cluster, self.waits, busy=self._is_busy(cluster))
            for cluster in self.clusters.values()
        ]
        due = [wake for wake in wakes if wake is not None]
        # A second at most: planned faults come without a call.
        return min(max(0.0, min(due, default=time.time() + 1) - time.time()), 1.0)

    def _is_busy(self, cluster: Cluster) -> bool:
        return cluster.id in self._keepers or any(cluster_id == cluster.id for cluster_id, _ in self._processes)

    def _carry_out(self, cluster: Cluster, effect: Effect) -> None:
        now_s = time.time()
        if isinstance(effect, ClusterChanged):
            self._enqueue(cluster, events.cluster_event(cluster, effect.state, effect.reason, now_s))
            if effect.state is ClusterState.BOOTSTRAPPING and cluster.has_nodes:
                self._keepers[cluster.id] = Keeper(cluster, self.settings, self)
                self._keepers[cluster.id].start()
            return
        step = cluster.step(effect.step_id)
        if step is None:
            return
        if isinstance(effect, StepChanged):
            self._enqueue(cluster, events.step_event(cluster, step, effect.state, now_s))
        elif isinstance(effect, KillStep):
            process = self._processes.get((cluster.id, step.id))
            if process is not None:
                process.kill()
        elif isinstance(effect, StartStep):
            order = StepOrder(
                cluster_id=cluster.id,
                step_id=step.id,
                name=step.name,
                jar=step.jar,
                args=tuple(step.args),
                configurations=tuple(cluster.request.get("Configurations") or ()),
                log_uri=cluster.log_uri,
                dies_after_s=effect.dies_after_s,
                hangs=effect.hangs,
            )
            process = StepProcess(order, self.settings, self._on_end, self._on_over)
            self._processes[cluster.id, step.id] = process
            process.start()

    def _on_end(self, order: StepOrder, exit_code: int) -> None:
        with self.editing() as now_s:
            cluster = self.clusters.get(order.cluster_id)
            step = cluster.step(order.step_id) if cluster else None
            if cluster is not None and step is not None:
                self.post(cluster, lifecycle.step_ended(cluster, step, exit_code, now_s))

    def _on_over(self, order: StepOrder) -> None:
        with self.editing():
            self._processes.pop((order.cluster_id, order.step_id), None)

    def nodes_gone(self, cluster: Cluster) -> None:
        """No daemon of its YARN is left."""
        with self.editing():
            self._keepers.pop(cluster.id, None)

    def measured(self, cluster: Cluster, values: dict[str, float]) -> None:
        """Tell CloudWatch a moment's metrics."""
        context = self._contexts.get(cluster.id)
        if context is not None:
            context.copy().run(metrics.publish, cluster.id, values)

    def _enqueue(self, cluster: Cluster, entry: Json | None) -> None:
        context = self._contexts.get(cluster.id)
        if context is not None and entry is not None:
            self._events.put((context, entry))

    def _tell(self) -> None:
        while True:
            context, entry = self._events.get()
            try:
                # A context can be entered once at a time: ministack may hold on to this one.
                context.copy().run(self._publish, entry)
            except Exception:
                logger.exception("An EMR event was not delivered: %s", entry.get("DetailType"))
