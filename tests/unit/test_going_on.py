"""What one attempt leaves to the next, and what one execution leaves to the one that took its run."""

from dataclasses import replace

import pytest
from fakes.control_plane import NOW, ControlPlane, execution
from fakes.crashes import Crashed, CrashPoint
from tidegate.errors import ClaimMoved, RunFailed, RunIsLive
from tidegate.usecases.claim_batch import claim_batch

RUN = {"run": "r"}
FIRST, SECOND = execution("r-1"), execution("r-2")


def landed() -> ControlPlane:
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    plane.land("airlines/a.csv")
    return plane


def failed_once() -> ControlPlane:
    """airlines is merged and flights is not; the first execution has ended."""
    plane = landed()
    plane.whole_run(RUN, FIRST, failing={"flights": "infrastructure"})
    with pytest.raises(RunFailed):
        plane.settle("fail_run", RUN, FIRST)
    return plane


def test_a_runs_summary_names_what_all_of_its_attempts_merged() -> None:
    plane = failed_once()
    summary = plane.whole_run(RUN, SECOND)
    assert [each["table"] for each in summary["merged"]] == ["airlines", "flights"]
    assert plane.ledger.runs["r"].batches == (("airlines", 1), ("flights", 1))


def test_a_run_goes_on_with_its_own_batch_also_if_its_table_was_blocked_since() -> None:
    # Design: "a failed one goes on with its own open batches"
    plane = failed_once()
    plane.ledger.block_table("flights", "five attempts failed")
    assert plane.plan({}, execution("somebody-else"))["work"] == "none"
    assert plane.whole_run(RUN, SECOND)["outcome"] == "succeeded"


def test_a_run_with_a_batch_that_is_not_merged_is_closed_by_fail_run_alone() -> None:
    # GIVEN Settle run finds that a batch is not merged
    plane = landed()
    plane.whole_run(RUN, FIRST, failing={"flights": "data"})
    # THEN the run stays open until Fail run closes it, with the words that operators read
    assert plane.ledger.runs["r"].state == "running"
    with pytest.raises(RunFailed) as failed:
        plane.settle("fail_run", RUN, FIRST)
    assert (plane.ledger.runs["r"].state, plane.ledger.runs["r"].error) == ("failed", str(failed.value))


def test_a_settling_that_died_between_the_batch_and_its_table_is_finished() -> None:
    # GIVEN the batch is recorded as merged, and the table still points to it
    plane = landed()
    plane.merge(plane.plan(RUN, FIRST))
    batches = plane.ledger.batch_items
    batches["flights", 1] = replace(batches["flights", 1], state="merged", delta_version=1)
    assert plane.ledger.table("flights").unsettled_batch == 1
    plane.settle_batches(RUN, FIRST)
    table = plane.ledger.table("flights")
    assert (table.unsettled_batch, table.last_merged_batch) == (None, 1)


def test_an_execution_that_was_refused_never_ends_the_live_ones_cluster() -> None:
    # GIVEN r-1 lives on its cluster, and r-2, which is refused
    plane = landed()
    plane.clusters.names["j-1"] = plane.plan(RUN, FIRST)["cluster"]["name"]
    plane.machine.running.add(FIRST.arn)
    with pytest.raises(RunIsLive):
        plane.plan(RUN, SECOND)
    # WHEN r-2 looks for what it has to end, THEN it finds nothing, and settles nothing
    answer = plane.settle("assess_failure", RUN, SECOND, error={"Error": "RunIsLive", "Cause": "c"})
    assert answer["cluster_id"] is None
    assert plane.ledger.table("flights").failures == 0
    # AND its Fail run frees no lease and closes no run
    with pytest.raises(RunFailed, match="RunIsLive: c"):
        plane.settle("fail_run", RUN, SECOND, error={"Error": "RunIsLive", "Cause": "c"})
    assert plane.ledger.table("flights").lease is not None
    assert plane.ledger.runs["r"].state == "running"


def test_a_redrive_that_enters_in_the_middle_counts_no_attempt() -> None:
    # GIVEN an execution that was aborted in its first pass and redriven at once
    plane = landed()
    plane.plan(RUN, FIRST)
    plane.settle("assess_failure", RUN, execution("r-1", 1), error={"Error": "StalePass", "Cause": "c"})
    assert plane.ledger.table("flights").failures == 0
    assert plane.ledger.table("flights").retry_after is None


def test_one_who_slept_while_its_claim_was_finished_rewrites_no_manifest() -> None:
    # GIVEN A wrote its candidates and slept; B took over, sealed them as batch 1, merged it and quarantined one file
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    plane.land("flights/2013-01/b.csv")
    with pytest.raises(Crashed):
        crash = next(each for each in map(CrashPoint, range(50)) if _leaves_candidates(each))
        plane.plan({"run": "A"}, execution("A"), crash=CrashPoint(crash.at))
    asleep = plane.ledger.table("flights")
    assert asleep.open_claim is not None
    plane.whole_run({"run": "B"}, execution("B"), rejected=(0,))
    (before,) = plane.manifests()
    # WHEN A goes on with what it knew, by which fewer arrivals are left to list
    with pytest.raises(ClaimMoved):
        claim_batch(
            asleep,
            plane.contracts.by_table["flights"],
            run_id="A",
            claim_id="1",
            ledger=plane.ledger,
            objects=plane.objects,
            lake_bucket="lake",
            control_bucket="control",
            now=NOW,
        )
    # THEN the list that was merged is still the list
    assert plane.manifests() == [before]
    assert len(before["files"]) == 2


def _leaves_candidates(crash: CrashPoint) -> bool:
    """Whether a plan that dies there leaves an open claim whose candidates are written."""
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    plane.land("flights/2013-01/b.csv")
    with pytest.raises(Crashed):
        plane.plan({"run": "A"}, execution("A"), crash=crash)
    claim = plane.ledger.table("flights").open_claim
    return claim is not None and plane.objects.read(claim.candidates_uri) is not None


def test_a_run_whose_execution_died_after_the_merge_frees_its_leases_when_it_is_started_again() -> None:
    # GIVEN everything is merged and settled, and the execution dies before Settle run
    plane = landed()
    plane.merge(plane.plan(RUN, FIRST))
    plane.settle_batches(RUN, FIRST)
    assert plane.ledger.table("flights").lease is not None
    # WHEN the run is started again THEN nothing is left to do, and nothing is held
    assert plane.plan(RUN, SECOND)["work"] == "none"
    assert {table.lease for table in plane.ledger.table_items.values()} == {None}
    assert plane.merged_keys("flights") == ["flights/2013-01/a.csv"]


def test_tables_that_a_run_took_on_later_are_planned_again_with_it() -> None:
    # GIVEN a run of one table that claimed another, whose batch then failed with the cluster
    plane = ControlPlane()
    plane.land("flights/2013-01/a.csv")
    named = RUN | {"tables": ["flights"]}
    plan = plane.plan(named, FIRST)
    plane.merge(plan)
    plane.settle_batches(named, FIRST)
    plane.land("airlines/a.csv")
    plane.more(named, FIRST, plan)
    # WHEN it is started again THEN that batch is done, although nobody named its table
    assert plane.whole_run(named, SECOND)["outcome"] == "succeeded"
    assert plane.merged_keys("airlines") == ["airlines/a.csv"]
