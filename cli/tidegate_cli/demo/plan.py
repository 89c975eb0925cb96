"""What lands in which wave, and what must come of it. Pure: frames in, files and frames out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import pandas as pd

from tidegate_cli.demo.source import Source

KEYS = {
    "flights": ["month", "flight_id"],
    "airlines": ["carrier"],
    "airports": ["faa"],
    "planes": ["tailnum"],
}
"""Of the tables that are merged by upsert."""


@dataclass(frozen=True)
class Delivery:
    """One upload: which key, which rows, and what is special about it."""

    key: str
    table: str | None
    """The table that its rows must reach; None if they must reach none."""
    rows: pd.DataFrame
    """Of the table, `month` included."""
    note: str = ""
    raw: bytes | None = None
    """Sent instead of the rows."""

    @property
    def body(self) -> bytes:
        """The file."""
        if self.raw is not None:
            return self.raw
        # The month is in the path, and a column that comes from the path may not be in the file.
        return _csv(self.rows.drop(columns="month", errors="ignore"))


@dataclass(frozen=True)
class Wave:
    """What lands before one dispatch."""

    title: str
    deliveries: tuple[Delivery, ...]
    is_stopped: bool = False
    """Whether somebody stops the run while Spark is at work, and redrives it."""


def waves(source: Source) -> list[Wave]:
    """The whole demo: first deliveries, then corrections and mishaps, then what comes late."""
    return [
        Wave("A year of flights, and four small tables", tuple(_first(source))),
        Wave("Corrections, repetitions and mishaps", tuple(_corrections(source))),
        Wave("What comes late, in a run that is stopped half-way and redriven", tuple(_late(source)), is_stopped=True),
    ]


def _first(source: Source) -> Iterator[Delivery]:
    for month, rows in source.flights.groupby("month"):
        yield Delivery(f"flights/{month}/flights.csv", "flights", rows)
    for month, rows in source.weather.groupby("month"):
        yield Delivery(f"weather/{month}/weather.csv", "weather", rows)
    yield Delivery("airlines/airlines.csv", "airlines", source.airlines)
    yield Delivery("airports/airports.csv", "airports", source.airports)
    yield Delivery("planes/planes.csv", "planes", source.planes)


def _corrections(source: Source) -> Iterator[Delivery]:
    flights = partial(_flights_of, source)
    july = flights("2013-07", 400)
    yield Delivery(
        "flights/2013-07/corrections-3.csv",
        "flights",
        corrected(july, "2013-08-20T06:00:00Z", minutes=3),
        "the newest correction of 400 flights lands first",
    )
    yield Delivery(
        "flights/2013-07/corrections-1.csv",
        "flights",
        corrected(july, "2013-08-10T06:00:00Z", minutes=1),
        "an older one of the same flights lands after it, and must not win",
    )
    yield Delivery(
        "flights/2013-01/flights.csv",
        "flights",
        flights("2013-01"),
        "January is delivered a second time, as it was",
    )
    february = flights("2013-02", 300)
    key = "flights/2013-02/corrections.csv"
    yield Delivery(key, "flights", corrected(february[:200], "2013-03-05T06:00:00Z", minutes=5), "200 corrections")
    yield Delivery(
        key,
        "flights",
        corrected(february[100:], "2013-03-06T06:00:00Z", minutes=6),
        "the same key is overwritten with 200 others before anyone has read it: both count",
    )
    rows = source.weather[source.weather["month"] == "2013-01"]
    yield Delivery(
        "weather/2013-01/weather.csv",
        "weather",
        rows[:-24],
        "weather is appended by file: January again, without its last 24 hours, replaces what it brought",
    )
    good = corrected(flights("2013-05", 50), "2013-06-05T06:00:00Z", minutes=9)
    broken = good.copy()
    broken.iloc[20, broken.columns.get_loc("dep_delay")] = "soon"
    yield Delivery(
        "flights/2013-05/broken.csv",
        "flights",
        good.drop(good.index[20]),
        "a file whose row 21 has 'soon' for a number: it is quarantined, the 49 others are merged",
        _csv(broken.drop(columns="month")),
    )
    yield Delivery("hotels/2013-01/rooms.csv", None, pd.DataFrame(), "no contract knows it", b"hotel,room\nRitz,12\n")
    yield Delivery("planes/planes-update.csv", "planes", _reseated(source.planes[:25]), "25 planes have new seats")


def _late(source: Source) -> Iterator[Delivery]:
    yield Delivery(
        "flights/2013-07/corrections-2.csv",
        "flights",
        corrected(_flights_of(source, "2013-07", 400), "2013-08-15T06:00:00Z", minutes=2),
        "older than what is in the table by now, so nothing changes",
    )
    yield Delivery(
        "flights/2013-11/späte Korrekturen + Nachträge 100%.csv",
        "flights",
        corrected(_flights_of(source, "2013-11", 250), "2014-01-20T06:00:00Z", minutes=-4),
        "a name with spaces, '+', '%' and umlauts",
    )
    extra = _flights_of(source, "2013-12", 40).assign(
        flight_id=lambda rows: rows["flight_id"] + "-X", flight="9999", updated_at="2014-01-21T06:00:00Z"
    )
    yield Delivery("flights/2013-12/extra.csv", "flights", extra, "40 flights that nobody had reported")


def _flights_of(source: Source, month: str, number: int | None = None) -> pd.DataFrame:
    """A month's flights, or the first of them that took off and arrived."""
    rows = source.flights[source.flights["month"] == month]
    return rows if number is None else rows[rows["arr_delay"] != ""][:number]


def corrected(flights: pd.DataFrame, updated_at: str, *, minutes: int) -> pd.DataFrame:
    """The same flights with delays that differ by some minutes."""

    def later(delays: pd.Series) -> pd.Series:
        return (delays.astype(int) + minutes).astype(str)

    return flights.assign(
        dep_delay=later(flights["dep_delay"]), arr_delay=later(flights["arr_delay"]), updated_at=updated_at
    )


def _reseated(planes: pd.DataFrame) -> pd.DataFrame:
    return planes.assign(seats=(planes["seats"].astype(int) + 10).astype(str))


def _csv(rows: pd.DataFrame) -> bytes:
    return bytes(rows.to_csv(index=False, lineterminator="\n"), "utf-8")


def expected(plan: Iterable[Wave]) -> dict[str, pd.DataFrame]:
    """The tables that must come of it, whatever is batched with what and comes in whichever order."""
    deliveries = [delivery for wave in plan for delivery in wave.deliveries]
    tables = {
        table: newest_by_key([d.rows for d in deliveries if d.table == table], keys) for table, keys in KEYS.items()
    }
    tables["weather"] = newest_by_file([(d.key, d.rows) for d in deliveries if d.table == "weather"])
    return tables


def newest_by_key(changes: list[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Upsert: of each key the change with the newest `updated_at`, if there is one; then the last to land."""
    together = pd.concat(changes, ignore_index=True)
    if "updated_at" in together:
        together = together.sort_values("updated_at", kind="stable")
    return together.drop_duplicates(keys, keep="last").reset_index(drop=True)


def newest_by_file(files: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Append: of each key of the bucket the rows of its last version."""
    return pd.concat(dict(files).values(), ignore_index=True)


@dataclass(frozen=True)
class Check:
    """A query whose answer pandas knows."""

    table: str
    what: str
    sql: str
    answer: Callable[[dict[str, pd.DataFrame]], list[tuple[object, ...]]]


def checks() -> list[Check]:
    """Row counts, and sums for each month or over all."""
    flights = ("dep_delay", "arr_delay", "dep_time", "air_time", "distance")
    return [
        _sums("flights", "month", flights, ("tailnum", "dep_time")),
        _sums("weather", "month", ("wind_dir",), ("wind_gust", "pressure")),
        _sums("planes", None, ("seats", "year"), ("speed",)),
        _sums("airports", None, ("alt", "tz"), ("tzone",)),
        _sums("airlines", None, (), ("name",)),
        Check(
            "flights",
            "the corrected flights, one by one",
            "select flight_id, dep_delay, arr_delay from flights"
            " where updated_at > timestamp '2013-08-03T00:00:00Z' and month = '2013-07' order by flight_id",
            lambda tables: _corrected_rows(tables["flights"]),
        ),
        Check(
            "flights",
            "flights with more than one row",
            "select count(*) from (select month, flight_id from flights group by 1, 2 having count(*) > 1)",
            lambda tables: [(int(tables["flights"].duplicated(KEYS["flights"]).sum()),)],
        ),
    ]


def _sums(table: str, by: str | None, sums: tuple[str, ...], counts: tuple[str, ...]) -> Check:
    columns = [
        *(f"sum(cast({name} as bigint))" for name in sums),
        *(f"count({name})" for name in counts),
    ]
    grouped = f" group by {by} order by {by}" if by else ""
    select = ", ".join([*([by] if by else []), "count(*)", *columns])
    what = "rows and sums" + (f" by {by}" if by else "")
    return Check(
        table,
        what,
        f"select {select} from {table}{grouped}",  # noqa: S608 - all names are written above
        partial(_summed, table=table, by=by, sums=sums, counts=counts),
    )


def _summed(
    tables: dict[str, pd.DataFrame],
    *,
    table: str,
    by: str | None,
    sums: tuple[str, ...],
    counts: tuple[str, ...],
) -> list[tuple[object, ...]]:
    frame = tables[table]
    groups = [((value,), rows) for value, rows in frame.groupby(by)] if by else [((), frame)]
    return [
        (
            *label,
            len(rows),
            *(int(pd.to_numeric(rows[name]).sum()) for name in sums),
            *(int((rows[name] != "").sum()) for name in counts),
        )
        for label, rows in groups
    ]


def _corrected_rows(flights: pd.DataFrame) -> list[tuple[object, ...]]:
    rows = flights[(flights["updated_at"] > "2013-08-03") & (flights["month"] == "2013-07")]
    rows = rows.sort_values("flight_id")
    return [(str(row.flight_id), int(row.dep_delay), int(row.arr_delay)) for row in rows.itertuples(index=False)]
