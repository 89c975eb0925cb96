"""Avro and ORC: files that say what is in them, as Parquet's do; nested values in all that have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COLUMNS = {
    "id": "int",
    "price": "decimal(10,2)",
    "tags": "array<string>",
    "place": "struct<lat:double,label:string>",
    "more": "map<string,int>",
}
ROW = (
    "CAST({id} AS BIGINT) AS id, {price} AS price, array('a', 'b') AS tags, "
    "named_struct('lat', 1.5D, 'label', 'x') AS place, map('k', 1) AS more"
)


def written(lake: Any, spark_format: str, select: str, **options: str) -> Callable[[Path], None]:
    """A file with the rows of a query."""

    def write(path: Path) -> None:
        from tidegate_spark.sources.avro_files import make_ready

        make_ready(lake.spark._jvm)
        folder = path.with_suffix(".folder")
        frame = lake.spark.sql(select).coalesce(1)
        frame.write.format(spark_format).options(**options).save(str(folder))
        [part] = [each for each in folder.iterdir() if each.name.startswith("part-")]
        part.rename(path)

    return write


@pytest.mark.parametrize("spark_format", ["avro", "orc"])
def test_files_are_read_by_their_own_schema(lake: Any, spark_format: str) -> None:
    # GIVEN files with a wider type, another order, another compression, and bad ones
    lake.contract("things", COLUMNS, format=spark_format)
    good = ROW.format(id=1, price="CAST(1.5 AS DECIMAL(12,3))")
    many = f"SELECT {ROW.format(id='id', price='1.00BD')} FROM range(20000)"

    def cut(path: Path) -> None:
        written(lake, spark_format, many)(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])

    def text(path: Path) -> None:
        path.write_text("id,price\n1,2\n")

    files = [
        lake.land(written(lake, spark_format, f"SELECT {good}", compression="snappy"), "good"),
        lake.land(
            written(
                lake,
                spark_format,
                f"SELECT {ROW.format(id=2, price='2.25BD')} UNION ALL SELECT {ROW.format(id=3, price='2.255BD')} "
                f"UNION ALL SELECT {ROW.format(id='NULL', price='2.25BD')}",
            ),
            "mixed",
        ),
        lake.land(written(lake, spark_format, "SELECT 1 AS id, array('x') AS price"), "other"),
        lake.land(cut, "cut"),
        lake.land(text, "text"),
    ]
    # WHEN
    code, [receipt] = lake.run(lake.batch("things", 1, files))
    # THEN what can be read is read by name, with its nested values
    assert code == 0, receipt["error"]
    merged = lake.read("things").selectExpr("id", "string(price)", "tags", "place.label", "more['k']").orderBy("id")
    assert [tuple(row) for row in merged.collect()] == [
        (1, "1.50", ["a", "b"], "x", 1),
        (2, "2.25", ["a", "b"], "x", 1),
    ]
    # AND the rest says what is wrong with it
    reasons = lake.reasons(receipt)
    assert set(reasons) == {"other", "cut", "text"}
    assert "missing from the file" in reasons["other"]
    assert ("is cut off" if spark_format == "avro" else "is not a whole ORC file") in reasons["cut"]
    assert "is not a whole" in reasons["text"]
    found = lake.quarantine("things")["mixed"]
    assert [(row, check) for row, check, *_ in found] == [(2, "parse"), (3, "key")]
    assert found[0][2] == "column price: '2.255' is not a valid decimal(10,2)"
    raw = json.loads(found[0][3])
    assert (raw["id"], raw["price"], raw["place"]) == ("3", "2.255", '{"lat":1.5,"label":"x"}')


def test_avro_without_its_jar_says_what_is_missing(lake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # GIVEN a cluster on which the jar is elsewhere
    from tidegate_spark.errors import NotSupported
    from tidegate_spark.sources import avro_files

    monkeypatch.setattr(avro_files, "_PROVIDER", "no.such.Provider")
    monkeypatch.setattr(avro_files, "JAR_SETTING", "spark.tidegate.elsewhere")
    # WHEN / THEN
    with pytest.raises(NotSupported, match=r"there is none at /usr/lib/spark.*Set spark\.tidegate\.elsewhere"):
        avro_files.make_ready(lake.spark._jvm)
