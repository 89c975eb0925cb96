"""An exception class an outcome. The state machine matches on the names; the messages say what to do."""


class TidegateError(Exception):
    """Base of what Tidegate raises on purpose."""


class NotAnArrival(TidegateError):
    """A message on the queue that is no event of the landing bucket. It ends in the dead-letter queue."""


class InvalidRunInput(TidegateError):
    """The input of an execution has a wrong shape."""


class UnknownTable(TidegateError):
    """A run was asked for a table that no contract has."""


class RunIsLive(TidegateError):
    """Another execution is at this run."""


class StalePass(TidegateError):
    """The execution was redriven, and what calls belongs to a pass that is over."""


class LeaseHeld(TidegateError):
    """Another run may write the table."""


class ClusterLeft(TidegateError):
    """A cluster of an earlier attempt at the run still lives. The machine ends it and plans again."""


class ClusterLost(TidegateError):
    """The cluster ended while batches of the run were not merged."""


class StepUnclear(TidegateError):
    """Nobody knows whether a step's driver still lives, so its cluster has to end before anything is tried again."""


class UnreadableItem(TidegateError):
    """An item of the ledger that this release can't read: of a newer one, or changed by hand."""


class ClaimMoved(TidegateError):
    """A claim or a batch is not as this run left it: another one got between."""


class LedgerBehind(TidegateError):
    """The ledger hands out a batch number that was used before: it was restored to an earlier moment, or lost."""


class ScalingRefused(TidegateError):
    """EMR does not take the limits: the cluster has ended, or they are not what it allows. Those that are, stay."""


class CostUnknown(TidegateError):
    """What a run's clusters have cost can't be read now. Its account is tried again; no run fails because of it."""


class Throttled(TidegateError):
    """AWS asked for fewer calls, and botocore's own retries did not help. Trying again later does."""


class RunFailed(TidegateError):
    """The end of a run that could not merge all of its batches. The message is what the operator reads."""


class SourceGone(TidegateError):
    """A version of an object that a batch lists is no longer in the landing bucket."""


class CatalogTaken(TidegateError):
    """The catalog has a table of this name that is somebody else's."""


class NotRegistered(TidegateError):
    """A table's entry in the catalog could not be written. Nothing is lost: it is tried again."""


class NotAnnounced(TidegateError):
    """An event about a table could not be sent. Nothing is lost: it is sent later."""
