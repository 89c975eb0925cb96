"""Where the local cloud keeps its things and how fast its clock runs.

Read once from the environment; everything else takes a :class:`Settings` and never looks at the
environment itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

DEFAULT_WAIT_SCALE = 0.005
"""EMR's five minutes from RunJobFlow to a ready cluster become 1.5 seconds."""


STEPS = ("spark", "stand-in")
IAM = ("open", "enforced")
MASTERS = ("local", "yarn")


class InvalidSetting(ValueError):
    """An environment variable holds something that cannot be used; the message says what to write."""


@dataclass(frozen=True)
class Settings:
    """What the parts of the local cloud need to know. Sizes and times carry their unit."""

    state_dir: Path
    """`.tidegate` below the checkout, or `$TIDEGATE_HOME`."""
    keep_dir: Path
    """Holds `jars/` and `cache/`: the state folder, or `$TIDEGATE_CACHE_HOME`, so that several local
    clouds (a test's, say) share what is dear to make."""
    port: int
    wait_scale: float
    """Real seconds of a wait in AWS, times this, = seconds that the local cloud waits."""
    idle_floor_s: float
    """A cluster is never ended as idle sooner than this, however small the scale."""
    spark_cores: int
    spark_driver_memory: str
    region: str = "us-east-1"
    account: str = "000000000000"
    access_key: str = "test"
    secret_key: str = "test"  # noqa: S105 - the local cloud accepts anything
    steps: str = "spark"
    """What runs a step's spark-submit: `spark`, or `stand-in`, which is for tests and benchmarks alone."""
    master: str = "local"
    """Spark's: `local`, a JVM a step; `yarn`, a real YARN a cluster, whose nodes are the fleets' instances."""
    iam: str = "open"
    """`enforced`: calls with the credentials of a role are held against its policies. The default key may do all."""

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def jars_dir(self) -> Path:
        """Seven jars, kept when the local cloud goes down."""
        return self.keep_dir / "jars"

    @property
    def cache_dir(self) -> Path:
        """What is cheap to make again but worth keeping: Ivy's folder, the JVM's class archive."""
        return self.keep_dir / "cache"

    @property
    def run_dir(self) -> Path:
        """Everything of a running local cloud; removed on `tidegate local down`."""
        return self.state_dir / "local"

    @property
    def pids_dir(self) -> Path:
        return self.run_dir / "pids"

    @property
    def tmp_dir(self) -> Path:
        return self.run_dir / "tmp"

    @property
    def logs_dir(self) -> Path:
        return self.run_dir / "logs"

    @property
    def steps_dir(self) -> Path:
        """One folder a cluster, in it one a step: the step's working directory."""
        return self.run_dir / "steps"

    @property
    def faults_file(self) -> Path:
        """Planned faults, see `tidegate_local.faults.plan`."""
        return self.run_dir / "faults.json"

    @property
    def events_file(self) -> Path:
        """Events that were sent by others than AWS's services, see `tidegate_local.event_log`."""
        return self.run_dir / "events.jsonl"

    def wait_s(self, real_s: float) -> float:
        """Seconds to wait here for what takes `real_s` seconds in AWS."""
        return real_s * self.wait_scale


def read(environment: Mapping[str, str]) -> Settings:
    """Settings from an environment. Raises :class:`InvalidSetting`."""
    state_dir = _state_dir(environment)
    cache_home = environment.get("TIDEGATE_CACHE_HOME")
    return Settings(
        state_dir=state_dir,
        keep_dir=Path(cache_home).expanduser().resolve() if cache_home else state_dir,
        port=int(_number(environment, ("TIDEGATE_LOCAL_PORT", "GATEWAY_PORT"), 4566, 1, 65535)),
        wait_scale=_number(environment, ("TIDEGATE_LOCAL_WAIT_SCALE",), DEFAULT_WAIT_SCALE, 0, 10),
        idle_floor_s=_number(environment, ("TIDEGATE_LOCAL_IDLE_FLOOR_S",), 20, 0, 3600),
        spark_cores=int(_number(environment, ("TIDEGATE_LOCAL_CORES",), 2, 1, 256)),
        spark_driver_memory=environment.get("TIDEGATE_LOCAL_DRIVER_MEMORY") or "2g",
        steps=_choice(environment, "TIDEGATE_LOCAL_STEPS", STEPS),
        master=_choice(environment, "TIDEGATE_LOCAL_MASTER", MASTERS),
        iam=_choice(environment, "TIDEGATE_LOCAL_IAM", IAM),
    )


@cache
def current() -> Settings:
    """The settings of this process, read at the first call."""
    return read(os.environ)


def _state_dir(environment: Mapping[str, str]) -> Path:
    home = environment.get("TIDEGATE_HOME")
    if home:
        return Path(home).expanduser().resolve()
    checkout = Path(__file__).resolve().parents[2]
    # An installed package has no checkout around it: then the current folder is the project.
    root = checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
    return root / ".tidegate"


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The first choice is the default."""
    chosen = environment.get(name) or choices[0]
    if chosen not in choices:
        raise InvalidSetting(f"{name}={chosen!r} must be one of {', '.join(choices)}.")
    return chosen


def _number(environment: Mapping[str, str], names: tuple[str, ...], default: float, least: float, most: float) -> float:
    for name in names:
        text = environment.get(name)
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            raise InvalidSetting(f"{name}={text!r} must be a number from {least:g} to {most:g}.")
        return value
    return default
