"""The Scheduler's context attributes are filled in, as on AWS."""

from tidegate_local.scheduler_attributes import filled


def test_the_scheduled_time_and_the_other_attributes_are_filled_in() -> None:
    event = {"Time": 1_795_452_449.7, "EventId": "e-1", "Resources": ["arn:schedule"]}
    given = '{"at": "<aws.scheduler.scheduled-time>", "by": "<aws.scheduler.schedule-arn>", "keep": "<other>"}'
    assert filled(given, event) == '{"at": "2026-11-23T16:47:29Z", "by": "arn:schedule", "keep": "<other>"}'
