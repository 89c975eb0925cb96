"""The systems of `merge.py`, each with its own way to load, merge, compact and scan one table."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from arro3.io import read_parquet
from deltalake import DeltaTable, QueryBuilder, write_deltalake
from merge_data import Work
from tidegate_local import java, settings
from tidegate_local.jars import DELTA_JARS, Jar

ICEBERG = Jar(
    "org.apache.iceberg",
    "iceberg-spark-runtime-3.5_2.12",
    "1.9.2",
    "c40ae0a8e2673bb5c01951b7d15aae2224a534f8331f4274ce2082776116a044",
)
HUDI = Jar(
    "org.apache.hudi",
    "hudi-spark3.5-bundle_2.12",
    "1.0.2",
    "2c2ab65a11e91265e4b7346f954448c46df52d66fb72f52dad83767b621deae8",
)
DRIVER_MEMORY = "8g"
SHUFFLE_PARTITIONS = 8
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # Of all that use Delta: its default, 50, is a second of each merge and scan on two cores.
    "spark.databricks.delta.snapshotPartitions": "4",
}


def start_spark(folder: Path, jars: Sequence[Path], properties: Mapping[str, str]) -> Any:
    """A session on two cores that keeps to its folder."""
    os.environ["JAVA_HOME"] = str(java.find_java_home(os.environ))
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    from pyspark.sql import SparkSession  # noqa: PLC0415 - after JAVA_HOME, and not for delta-rs

    builder = SparkSession.builder.appName("merge benchmark")
    for name, value in {
        "spark.master": "local[2]",
        "spark.driver.memory": DRIVER_MEMORY,
        "spark.driver.extraClassPath": os.pathsep.join(map(str, jars)),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.extraJavaOptions": "-XX:-UsePerfData",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder / "local"),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.sql.shuffle.partitions": str(SHUFFLE_PARTITIONS),
        "spark.serializer": "org.apache.spark.serializer.KryoSerializer",
        "spark.sql.session.timeZone": "UTC",
        **properties,
    }.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


class System(ABC):
    """One table in `folder`, from its first rows on."""

    jars: tuple[Jar, ...] = DELTA_JARS
    properties: Mapping[str, str] = DELTA

    def __init__(self, work: Work, folder: Path, jars_dir: Path) -> None:
        self.work, self.folder, self.uri = work, folder, (folder / "table").as_uri()
        self.spark: Any = self._start(jars_dir)

    def _start(self, jars_dir: Path) -> Any:
        usual = settings.current().jars_dir
        paths = [usual / jar.file_name if jar in DELTA_JARS else jars_dir / jar.file_name for jar in self.jars]
        return start_spark(self.folder, paths, self.properties)

    def read(self, paths: Sequence[Path]) -> Any:
        return self.spark.read.parquet(*(path.as_uri() for path in paths))

    @abstractmethod
    def load(self) -> None: ...

    @abstractmethod
    def merge(self, number: int) -> str:
        """Says how, if the system chooses."""

    @abstractmethod
    def compact(self) -> None:
        """What keeps reads fast; called after every fifth merge."""

    @abstractmethod
    def frame(self) -> Any: ...

    def scan(self) -> list[Any]:
        """Every column is read: the sum of numbers, the largest of the rest."""
        asked = [
            f"sum({name})" if kind in {"bigint", "int"} or kind.startswith("decimal") else f"max({name})"
            for name, kind in self.work.columns.items()
        ]
        (row,) = self.frame().selectExpr("count(*)", *asked).collect()
        return [str(value) for value in row]

    def _same_key(self) -> str:
        return " AND ".join(f"target.{key} = change.{key}" for key in self.work.keys)

    def _is_newer(self) -> str:
        return f"change.{self.work.sequence} > target.{self.work.sequence}"


class PlainDelta(System):
    """MERGE as Delta's documentation has it."""

    vectors = "false"

    def load(self) -> None:
        self.spark.sql(
            f"CREATE TABLE delta.`{self.uri}` ({', '.join(f'{n} {t}' for n, t in self.work.columns.items())}) "
            f"USING delta TBLPROPERTIES ('delta.enableDeletionVectors' = '{self.vectors}')"
        )
        self.read(self.work.target).write.format("delta").mode("append").save(self.uri)

    def merge(self, number: int) -> str:
        from delta.tables import DeltaTable as SparkDeltaTable  # noqa: PLC0415 - needs Spark

        (
            SparkDeltaTable.forPath(self.spark, self.uri)
            .alias("target")
            .merge(self.read([self.work.batch(number)]).alias("change"), self._same_key())
            .whenMatchedUpdateAll(self._is_newer())
            .whenNotMatchedInsertAll()
            .execute()
        )
        return ""

    def compact(self) -> None:
        self.spark.sql(f"OPTIMIZE delta.`{self.uri}`")

    def frame(self) -> Any:
        return self.spark.read.format("delta").load(self.uri)


class DeltaWithVectors(PlainDelta):
    """Merge-on-read: rows are marked, not rewritten."""

    vectors = "true"


class Iceberg(System):
    """MERGE INTO, copy-on-write."""

    jars = (ICEBERG,)
    properties = {  # noqa: RUF012 - never written to
        "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
        "spark.sql.catalog.lake": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.lake.type": "hadoop",
    }
    mode = "copy-on-write"

    def load(self) -> None:
        self.spark.conf.set("spark.sql.catalog.lake.warehouse", self.uri)
        self.read(self.work.target).writeTo("lake.db.t").using("iceberg").tableProperty(
            "format-version", "2"
        ).tableProperty("write.merge.mode", self.mode).tableProperty("write.update.mode", self.mode).create()

    def merge(self, number: int) -> str:
        self.read([self.work.batch(number)]).createOrReplaceTempView("change")
        self.spark.sql(
            f"MERGE INTO lake.db.t target USING change ON {self._same_key()} "
            f"WHEN MATCHED AND {self._is_newer()} THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
        )
        return ""

    def compact(self) -> None:
        self.spark.sql(
            "CALL lake.system.rewrite_data_files(table => 'db.t', options => map('delete-file-threshold', '1'))"
        )

    def frame(self) -> Any:
        return self.spark.table("lake.db.t")


class IcebergOnRead(Iceberg):
    """MERGE INTO, merge-on-read."""

    mode = "merge-on-read"


class Hudi(System):
    """Upsert by record key, default index."""

    jars = (HUDI,)
    properties = {  # noqa: RUF012
        "spark.kryo.registrator": "org.apache.spark.HoodieSparkKryoRegistrar",
        "spark.sql.extensions": "org.apache.spark.sql.hudi.HoodieSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.hudi.catalog.HoodieCatalog",
    }
    kind = "COPY_ON_WRITE"

    def _write(self, rows: Any, operation: str, mode: str) -> None:
        options = {
            "hoodie.table.name": "t",
            "hoodie.datasource.write.recordkey.field": ",".join(self.work.keys),
            "hoodie.datasource.write.precombine.field": self.work.sequence,
            "hoodie.datasource.write.partitionpath.field": "",
            "hoodie.datasource.write.keygenerator.class": "org.apache.hudi.keygen.NonpartitionedKeyGenerator",
            "hoodie.datasource.write.table.type": self.kind,
            "hoodie.datasource.write.operation": operation,
            # Hudi's own: compacts in every fifth commit, as the others are made to.
            "hoodie.compact.inline": "true" if self.kind == "MERGE_ON_READ" else "false",
            "hoodie.compact.inline.max.delta.commits": "5",
        }
        rows.write.format("hudi").options(**options).mode(mode).save(self.uri)

    def load(self) -> None:
        self._write(self.read(self.work.target), "bulk_insert", "overwrite")

    def merge(self, number: int) -> str:
        self._write(self.read([self.work.batch(number)]), "upsert", "append")
        return ""

    def compact(self) -> None:
        """Inline, above."""

    def frame(self) -> Any:
        return self.spark.read.format("hudi").load(self.uri)


class HudiOnRead(Hudi):
    """Upsert into log files."""

    kind = "MERGE_ON_READ"


class DeltaRs(System):
    """delta-rs alone, with no Spark around it; it scans with its own engine."""

    def _start(self, jars_dir: Path) -> Any:  # noqa: ARG002 - no jars for it
        return None

    def load(self) -> None:
        for path in self.work.target:
            write_deltalake(str(self.folder / "table"), read_parquet(path), mode="append")

    def merge(self, number: int) -> str:
        (
            DeltaTable(str(self.folder / "table"))
            .merge(
                read_parquet(self.work.batch(number)).read_all(),
                self._same_key(),
                source_alias="change",
                target_alias="target",
            )
            .when_matched_update_all(predicate=self._is_newer())
            .when_not_matched_insert_all()
            .execute()
        )
        return ""

    def compact(self) -> None:
        DeltaTable(str(self.folder / "table")).optimize.compact()

    def frame(self) -> Any:
        raise NotImplementedError("delta-rs scans by itself")

    def scan(self) -> list[Any]:
        asked = [
            f"sum({name})" if kind in {"bigint", "int"} or kind.startswith("decimal") else f"max({name})"
            for name, kind in self.work.columns.items()
        ]
        found = (
            QueryBuilder()
            .register("t", DeltaTable(str(self.folder / "table")))
            .execute(f"SELECT count(*) AS n, {', '.join(f'{term} AS c{at}' for at, term in enumerate(asked))} FROM t")
            .read_all()
        )
        return [str(found.column(at).to_pylist()[0]) for at in range(len(asked) + 1)]


BESIDE: dict[str, type[System]] = {
    "Delta, copy-on-write": PlainDelta,
    "Delta, deletion vectors": DeltaWithVectors,
    "Iceberg, copy-on-write": Iceberg,
    "Iceberg, merge-on-read": IcebergOnRead,
    "Hudi, copy-on-write": Hudi,
    "Hudi, merge-on-read": HudiOnRead,
    "delta-rs alone": DeltaRs,
}
