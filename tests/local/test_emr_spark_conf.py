"""A cluster's Spark configuration becomes one that a laptop can honour."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from tidegate_local import settings, spark_conf
from tidegate_local.emr.step_process import StepNotRunnable, StepOrder, command_of


@pytest.fixture
def here(tmp_path: Path) -> settings.Settings:
    return settings.read({"TIDEGATE_HOME": str(tmp_path / "home with space"), "TIDEGATE_LOCAL_PORT": "4999"})


def classification(name: str, **properties: str) -> dict[str, object]:
    return {
        "Classification": name,
        "Properties": {key.replace("__", "."): value for key, value in properties.items()},
    }


def test_what_the_cluster_says_about_the_job_is_kept(here: settings.Settings) -> None:
    given = classification("spark-defaults", spark__sql__extensions="x.Y", spark__scheduler__mode="FAIR")
    made = spark_conf.spark_defaults([given], here)
    assert made["spark.sql.extensions"] == "x.Y"
    assert made["spark.scheduler.mode"] == "FAIR"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spark.yarn.am.nodeLabelExpression", "CORE"),
        ("spark.dynamicAllocation.enabled", "true"),
        ("spark.executor.memory", "18g"),
        ("spark.pyspark.python", "/usr/bin/python3.11"),
        ("spark.jars", "/usr/share/aws/delta/lib/delta-spark.jar"),
        ("spark.archives", "file:///opt/thing.zip"),
        ("spark.sql.parquet.output.committer.class", "com.amazon.emr.committer.EmrOptimizedCommitter"),
    ],
)
def test_what_only_emr_s_nodes_can_honour_is_dropped(here: settings.Settings, key: str, value: str) -> None:
    made = spark_conf.spark_defaults([{"Classification": "spark-defaults", "Properties": {key: value}}], here)
    assert made.get(key) != value


def test_the_local_cloud_has_the_last_word_on_places(here: settings.Settings) -> None:
    given = classification(
        "spark-defaults",
        spark__master="yarn",
        spark__driver__memory="40g",
        spark__sql__shuffle__partitions="400",
        spark__hadoop__fs__s3a__endpoint="s3.example.com",
    )
    made = spark_conf.spark_defaults([given], here)
    assert made["spark.sql.shuffle.partitions"] == "2"
    assert made["spark.master"] == "local[2]"
    assert made["spark.driver.memory"] == "2g"
    assert made["spark.hadoop.fs.s3a.endpoint"] == "http://127.0.0.1:4999"
    assert made["spark.driver.host"] == made["spark.driver.bindAddress"] == "127.0.0.1"


def test_delta_is_on_the_class_path_only_where_the_cluster_enables_it(here: settings.Settings) -> None:
    without = spark_conf.spark_defaults([], here)["spark.driver.extraClassPath"]
    enabled = {"Classification": "delta-defaults", "Properties": {"delta.enabled": "true"}}
    with_it = spark_conf.spark_defaults([enabled], here)["spark.driver.extraClassPath"]
    assert "delta-spark" not in without
    assert "delta-spark_2.12-3.3.2.jar" in with_it
    assert "hadoop-aws-3.3.4.jar" in without


def test_the_job_is_told_where_avros_jar_is_and_it_is_on_no_class_path(here: settings.Settings) -> None:
    made = spark_conf.spark_defaults(
        [{"Classification": "delta-defaults", "Properties": {"delta.enabled": "true"}}], here
    )
    assert made["spark.tidegate.avroJar"] == str(here.jars_dir / "spark-avro_2.12-3.5.6.jar")
    assert "spark-avro" not in made["spark.driver.extraClassPath"]


def test_the_cluster_s_java_options_follow_the_local_ones(here: settings.Settings) -> None:
    given = classification("spark-defaults", spark__driver__extraJavaOptions="-Da=b")
    options = shlex.split(spark_conf.spark_defaults([given], here)["spark.driver.extraJavaOptions"])
    assert options[-1] == "-Da=b"
    # THEN a folder with a space is still one option
    assert f"-Djava.io.tmpdir={here.tmp_dir}" in options


def test_everything_that_spark_writes_is_below_the_state_folder(here: settings.Settings) -> None:
    made = spark_conf.spark_defaults([], here)
    folders = [
        "spark.local.dir", "spark.sql.warehouse.dir", "spark.jars.ivy",
        "spark.hadoop.hadoop.tmp.dir", "spark.hadoop.fs.s3a.buffer.dir",
    ]  # fmt: skip
    assert all(Path(made[key]).is_relative_to(here.run_dir) for key in folders)
    assert made["spark.eventLog.dir"].startswith(here.run_dir.as_uri())


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (
            [
                "--deploy-mode",
                "client",
                "--py-files",
                "s3://c/z.zip",
                "s3://c/main.py",
                "--work",
                "s3://c/w.json",
            ],
            [
                "--deploy-mode",
                "client",
                "--py-files",
                "s3://c/z.zip",
                "s3://c/main.py",
                "--work",
                "s3://c/w.json",
            ],
        ),
        (["--deploy-mode", "cluster", "m.py"], ["--deploy-mode", "client", "m.py"]),
        (["--master", "yarn", "--num-executors=4", "--driver-memory", "9g", "m.py"], ["m.py"]),
        (["--conf", "spark.executor.memory=4g", "--conf", "a=b", "m.py"], ["--conf", "a=b", "m.py"]),
        # What follows the application is the application's.
        (["m.py", "--master", "mine"], ["m.py", "--master", "mine"]),
        (["--verbose", "m.py"], ["--verbose", "m.py"]),
    ],
)
def test_submit_arguments(given: list[str], made: list[str]) -> None:
    assert spark_conf.submit_arguments(given) == made


def test_properties_survive_their_file(here: settings.Settings) -> None:
    assert spark_conf.as_properties_file({"a": "b\\c"}) == "a b\\\\c\n"


def test_with_yarn_executors_are_allocated_as_the_cluster_says_but_no_more_than_this_machine_has(
    here: settings.Settings,
) -> None:
    given = classification("spark-defaults", spark__dynamicAllocation__minExecutors="1", spark__executor__memory="18g")
    made = spark_conf.spark_defaults([given], replace(here, master="yarn", spark_cores=3))
    assert (made["spark.master"], made["spark.dynamicAllocation.minExecutors"]) == ("yarn", "1")
    assert (made["spark.dynamicAllocation.maxExecutors"], made["spark.executor.memory"]) == ("3", "1g")
    asked = ["--conf", "spark.dynamicAllocation.maxExecutors=33", "--conf", "spark.dynamicAllocation.minExecutors=2"]
    kept = ["--conf", "spark.dynamicAllocation.minExecutors=2", "job.py"]
    assert spark_conf.submit_arguments([*asked, "job.py"], "yarn") == kept
    assert spark_conf.submit_arguments([*asked, "job.py"]) == ["job.py"]


def order(jar: str, *args: str) -> StepOrder:
    return StepOrder("j-1", "s-1", "a step", jar, args, (), None)


def test_command_runner_runs_the_venv_s_spark() -> None:
    command = command_of(order("command-runner.jar", "spark-submit", "m.py"))
    assert command[0].endswith("pyspark/bin/spark-submit")
    assert command_of(order("command-runner.jar", "sleep", "1")) == ["sleep", "1"]


@pytest.mark.parametrize(("jar", "args"), [("s3://b/my.jar", ("x",)), ("command-runner.jar", ())])
def test_what_cannot_be_run_is_refused_in_words(jar: str, args: tuple[str, ...]) -> None:
    with pytest.raises(StepNotRunnable, match=r"command-runner\.jar"):
        command_of(order(jar, *args))


@pytest.mark.parametrize(
    "environment",
    [{"TIDEGATE_LOCAL_WAIT_SCALE": "fast"}, {"TIDEGATE_LOCAL_PORT": "0"}, {"TIDEGATE_LOCAL_CORES": "-1"}],
)
def test_a_setting_that_cannot_be_used_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(settings.InvalidSetting, match=next(iter(environment))):
        settings.read(environment)
