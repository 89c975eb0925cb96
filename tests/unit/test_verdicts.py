"""Receipts, retries and words: what an attempt was worth, what follows, and how it is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tidegate.failures import FIRST_PAUSE_S, LONGEST_PAUSE_S, MAXIMUM_ATTEMPTS, decide_retry, words_for_failed_run
from tidegate.receipts import Merged, NotMerged, judge_receipts
from tidegate.runs import Execution, Run, attempt_of, dispatched_run_id, may_plan_again, run_id_of, sentence_for

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def receipt(outcome: str, *, attempt: int = 0, sha: str = "s", cause: str = "data") -> tuple[str, dict[str, Any]]:
    error = {"type": "Broken", "message": f"attempt {attempt}", "cause": cause} if outcome == "failed" else None
    return f"s3://c/r-{attempt}.json", {
        "outcome": outcome,
        "run_id": "r",
        "pass": attempt,
        "manifest_sha256": sha,
        "delta_version": 8,
        "rows": {"read": 1},
        "files": {"read": 1, "rejected": [{"index": 0, "key": "k", "reason": "row 3"}]},
        "error": error,
    }


def judge(*receipts: tuple[str, dict[str, Any]], attempt: int = 0) -> Merged | NotMerged:
    return judge_receipts(receipts, "s", run_id="r", pass_=attempt)


class TestReceipts:
    @given(st.lists(st.sampled_from(["merged", "failed"]), min_size=1, max_size=5))
    def test_any_success_wins(self, outcomes: list[str]) -> None:
        # Design: "any success wins; none means unknown."
        receipts = [receipt(outcome, attempt=number) for number, outcome in enumerate(outcomes)]
        verdict = judge(*receipts, attempt=len(outcomes) - 1)
        assert isinstance(verdict, Merged) is ("merged" in outcomes)

    def test_a_failure_is_of_its_own_attempt_alone(self) -> None:
        assert judge(receipt("failed", attempt=0), attempt=1) == NotMerged(
            "the job left no receipt: its step did not start, or it was ended from outside", "infrastructure"
        )
        assert judge(receipt("failed", attempt=0), receipt("failed", attempt=1), attempt=1) == NotMerged(
            "Broken: attempt 1", "data"
        )

    def test_another_lists_success_is_none(self) -> None:
        assert isinstance(judge(receipt("merged", sha="other")), NotMerged)

    def test_no_receipt_condemns_nothing(self) -> None:
        verdict = judge()
        assert isinstance(verdict, NotMerged)
        assert not verdict.counts_as_attempt

    def test_rejected_files_keep_their_reasons(self) -> None:
        verdict = judge(receipt("merged"))
        assert isinstance(verdict, Merged)
        assert [(each.index, each.reason) for each in verdict.rejected] == [(0, "row 3")]


class TestRetries:
    @given(st.integers(0, 20), st.integers(0, 20))
    def test_each_failure_doubles_the_pause_up_to_an_hour(self, attempts: int, failures: int) -> None:
        decision = decide_retry(NotMerged("m", "infrastructure"), attempts, failures, NOW, units=3)
        pause_s = (decision.retry_after - NOW).total_seconds()
        assert FIRST_PAUSE_S <= pause_s <= LONGEST_PAUSE_S
        assert pause_s == min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**failures)

    @given(st.integers(0, 20), st.integers(0, 50), st.integers(1, 9), st.booleans())
    def test_infrastructure_condemns_nothing(self, attempts: int, failures: int, files: int, is_half: bool) -> None:
        # Design: "Failures of infrastructure condemn nothing."
        decision = decide_retry(NotMerged("m", "infrastructure"), attempts, failures, NOW, units=files, is_half=is_half)
        assert (decision.attempts, decision.blocked_reason, decision.void_reason) == (attempts, None, None)

    @pytest.mark.parametrize("cause", ["table", "code"])
    def test_the_last_attempt_that_only_a_person_can_mend_blocks_with_words(self, cause: Any) -> None:
        decision = decide_retry(NotMerged("no such column", cause), MAXIMUM_ATTEMPTS - 1, 9, NOW, units=3)
        assert "no such column" in (decision.blocked_reason or "")
        assert "start an execution with this table's name" in (decision.blocked_reason or "")
        assert decision.void_reason is None

    def test_data_that_keeps_failing_is_opened_up_at_once_and_never_blocks(self) -> None:
        # Design: "Only failures caused by data count as attempts [...] Its arrivals go out again in halves"
        first = decide_retry(NotMerged("row 3", "data"), 0, 0, NOW, units=4)
        assert (first.void_reason, first.blocked_reason) == (None, None)
        assert first.retry_after > NOW
        last = decide_retry(NotMerged("row 3", "data"), MAXIMUM_ATTEMPTS - 1, 2, NOW, units=4)
        assert (last.void_reason, last.blocked_reason, last.retry_after) == ("row 3", None, NOW)

    def test_a_half_is_opened_up_at_its_first_failure_and_the_last_file_has_all_its_attempts(self) -> None:
        half = decide_retry(NotMerged("row 3", "data"), 0, 0, NOW, units=2, is_half=True)
        assert half.void_reason == "row 3"
        alone = decide_retry(NotMerged("row 3", "data"), 0, 0, NOW, units=1, is_half=True)
        assert (alone.void_reason, alone.retry_after) == (None, NOW)


class TestWords:
    def test_say_what_why_and_what_to_do(self) -> None:
        unsettled = [{"table": "flights", "batch": 3, "error": "row 3"}]
        words = words_for_failed_run("r", unsettled, {"Error": "States.Timeout", "Cause": "after 4 h"})
        for part in ("Run r failed", "flights batch 3: row 3", "States.Timeout: after 4 h", "Redrive this execution"):
            assert part in words

    def test_are_never_longer_than_step_functions_keeps(self) -> None:
        unsettled = [{"table": "flights", "batch": 3, "error": "x" * 500}] * 500
        assert len(words_for_failed_run("r", unsettled, None)) <= 8_000

    def test_are_there_even_if_nobody_knows(self) -> None:
        assert "nobody recorded why" in words_for_failed_run("r", [], None)
        assert "unknown error: no cause given" in words_for_failed_run("r", [], {"x": 1})

    def test_a_runs_sentence_names_versions(self) -> None:
        merged = [{"table": f"t{number}", "delta_version": number} for number in range(12)]
        assert sentence_for(merged[:2], [1]) == "merged t0 (version 0), t1 (version 1); 1 batches are not merged"
        assert sentence_for([], []) == "merged nothing"
        assert sentence_for(merged, []).endswith("t9 (version 9) and 2 more")


class TestRuns:
    EXECUTION = Execution("arn:1", "name-1", 2)
    RUN = Run("r", "failed", 1, "arn:1", "", NOW, attempt=4)

    @pytest.mark.parametrize(
        ("given", "run_id"),
        [
            ({"run": "r"}, "r"),
            ({}, "name-1"),
            ([], "name-1"),
            (None, "name-1"),
            ({"run": 7}, "name-1"),
            ({"run": "../x"}, "name-1"),
        ],
    )
    def test_a_run_is_named_by_its_input_or_its_execution(self, given: Any, run_id: str) -> None:
        assert run_id_of(given, "name-1") == run_id

    def test_attempts_are_counted_over_all_executions(self) -> None:
        assert attempt_of(None, self.EXECUTION) == 0
        assert attempt_of(self.RUN, self.EXECUTION) == 5
        assert attempt_of(self.RUN, Execution("arn:1", "name-1", 1)) == 4
        assert attempt_of(self.RUN, Execution("arn:2", "name-2", 1)) == 5

    @given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
    def test_fail_run_returns_once_a_redrive(self, redrives: int, planned: int, admitted: int) -> None:
        # Design: Fail run "returns only if RedriveCount is larger than the recorded pass"
        run = Run("r", "failed", planned, "arn:1", "", NOW)
        execution = Execution("arn:1", "n", redrives)
        if may_plan_again(run, execution, admitted):
            assert redrives > planned
            assert not may_plan_again(run, execution, redrives)

    def test_a_first_failure_never_returns(self) -> None:
        assert not may_plan_again(None, Execution("arn:1", "n", 0), 0)

    def test_a_scheduled_minute_names_one_run(self) -> None:
        assert dispatched_run_id(NOW, "2026-03-01T11:59:00Z") == "run-20260301T1159Z"
        later = NOW + timedelta(milliseconds=5)
        assert dispatched_run_id(NOW, None) != dispatched_run_id(later, None)


class TestWordsForAFailedRun:
    def test_a_lambdas_message_is_read_out_of_its_json(self) -> None:
        error = {
            "Error": "UnknownTable",
            "Cause": '{"errorMessage": "no contract has it", "errorType": "UnknownTable"}',
        }
        assert "UnknownTable: no contract has it." in words_for_failed_run("r", [], error)

    def test_a_cluster_that_could_not_be_ended_is_named(self) -> None:
        # GIVEN a run that failed WHEN a cluster is left THEN nobody is told that none is
        words = words_for_failed_run("r", [], None, ["j-1"])
        assert "cluster j-1 could not be ended" in words
        assert "no cluster is left" not in words
        assert "no cluster is left" in words_for_failed_run("r", [], None)
