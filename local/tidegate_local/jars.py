"""Fetch the seven jars that the venv's Spark lacks, once, each pinned by its sha256.

They make the venv's PySpark read and write Delta tables on `s3://`, as EMR's own Spark does. Spark
brings Apache Ivy along, so neither Maven nor a Spark session is needed, and Ivy's own default, Maven
Central, is where they come from. Ivy pins nothing: what it brings is compared with :data:`JARS`.

`python -m tidegate_local.jars` fetches; nothing is said when nothing was missing.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from tidegate_local import java, settings, spark_home

_ATTEMPTS = 3
_TIMEOUT_S = 600
_NAMED = 10
_STORE_PASSWORD = "changeit"  # noqa: S105 - Java wants one; the store holds public certificates alone


@dataclass(frozen=True)
class Jar:
    """One artifact of Maven Central."""

    organisation: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


DELTA_JARS = (
    Jar(
        "io.delta",
        "delta-spark_2.12",
        "3.3.2",
        "4e92085d5d794cf949c50bb665b91384857cad58680c2d0bfc9c7ad353e98e85",
    ),
    Jar(
        "io.delta",
        "delta-storage",
        "3.3.2",
        "c096975a2ca97ccc9b4005aa5cce16c9ac3903139d340da6665b66ace67d7c36",
    ),
)
"""On the class path only of clusters with `delta.enabled`, as on EMR."""

S3_JARS = (
    Jar(
        "org.apache.hadoop",
        "hadoop-aws",
        "3.3.4",
        "53f9ae03c681a30a50aa17524bd9790ab596b28481858e54efd989a826ed3a4a",
    ),
    Jar(
        "com.amazonaws",
        "aws-java-sdk-core",
        "1.12.262",
        "06fed99f929c389e168278c1b111aaf1afb270d07202fbbce92e73d1e4279678",
    ),
    Jar(
        "com.amazonaws",
        "aws-java-sdk-s3",
        "1.12.262",
        "a0cb7580178bc0d4d3558295a5bb890008478da8a6b3241989c71238b0ed3be5",
    ),
    # Never called, yet S3A's failure translation loads one of its classes.
    Jar(
        "com.amazonaws",
        "aws-java-sdk-dynamodb",
        "1.12.262",
        "7af4ba06d0d9b3c2ab435089caecd0567810d203aa285f7aa72861f1964d442e",
    ),
)
"""S3A of the Hadoop 3.3.4 that PySpark 3.5.6 ships, and the parts of the AWS SDK that it really loads."""

AVRO_JAR = Jar(
    "org.apache.spark",
    "spark-avro_2.12",
    "3.5.6",
    "933ab859ec96aca9b4628b26e1b9ac4e67156f38f6936fb495d7df1486f6ee24",
)
"""Not on the class path: as on EMR, the job adds it when the first Avro file comes."""

JARS = (*DELTA_JARS, *S3_JARS, AVRO_JAR)


class JarsUnavailable(RuntimeError):
    """The jars could not be fetched; the message says why and what to do, offline too."""


class WrongJar(JarsUnavailable):
    """A jar came whose sha256 is not the pinned one. It has been deleted."""


Resolve = Callable[[Sequence[Jar], Path, Path, Callable[[str], None]], str]
"""Brings jars into a folder: (wanted, work folder, target folder, say) to words about what failed."""


def missing(jars_dir: Path) -> list[Jar]:
    """The jars that are absent from `jars_dir` or aren't what they should be."""
    return [jar for jar in JARS if not _is_intact(jars_dir / jar.file_name, jar)]


def absent(jars_dir: Path) -> list[Jar]:
    """The jars that aren't there at all: a quick look, without reading twelve megabytes."""
    return [jar for jar in JARS if not (jars_dir / jar.file_name).is_file()]


def fetch(
    jars_dir: Path,
    cache_dir: Path,
    say: Callable[[str], None] = lambda _line: None,
    resolve: Resolve | None = None,
) -> list[Jar]:
    """Bring what is missing into `jars_dir`; returns what was brought. Raises :class:`JarsUnavailable`.

    Ivy's own folders, its idea of a home directory and the trust store all stay below `cache_dir`.
    """
    return fetch_pinned(JARS, jars_dir, cache_dir, say, resolve)


def fetch_pinned(
    jars: Sequence[Jar],
    jars_dir: Path,
    cache_dir: Path,
    say: Callable[[str], None] = lambda _line: None,
    resolve: Resolve | None = None,
    *,
    what: str = "Spark",
) -> list[Jar]:
    """:func:`fetch`, for any jars of Maven Central: `what` needs them."""
    wanted = [jar for jar in jars if not _is_intact(jars_dir / jar.file_name, jar)]
    if not wanted:
        return []
    names = ", ".join(jar.file_name for jar in wanted[:_NAMED]) + (", ..." if len(wanted) > _NAMED else "")
    say(f"Fetching {len(wanted)} {what} jars (once): {names}")
    jars_dir.mkdir(parents=True, exist_ok=True)
    ivy_dir = cache_dir / "ivy"
    fetched_dir = ivy_dir / "fetched"
    shutil.rmtree(fetched_dir, ignore_errors=True)
    fetched_dir.mkdir(parents=True)
    trouble = (resolve or resolve_with_ivy)(wanted, ivy_dir, fetched_dir, say)
    unfetched = [jar.file_name for jar in wanted if not (fetched_dir / jar.file_name).is_file()]
    if unfetched:
        raise JarsUnavailable(
            f"Could not fetch {', '.join(unfetched)} from Maven Central in {_ATTEMPTS} attempts. "
            "Ivy's last words:\n" + "\n".join("  " + line for line in trouble.splitlines()[-8:]) + "\n"
            "Check the network and the proxy settings and run the command again. Offline: copy these files "
            f"from a machine that has them into {jars_dir}; their sha256 is checked."
        )
    for jar in wanted:
        _accept(fetched_dir / jar.file_name, jars_dir / jar.file_name, jar, ivy_dir)
    return wanted


def resolve_with_ivy(wanted: Sequence[Jar], ivy_dir: Path, fetched_dir: Path, say: Callable[[str], None]) -> str:
    """Have Ivy bring `wanted` into `fetched_dir`, in some attempts. Returns its words, if any failed."""
    command = ivy_command(
        java_home=java.find_java_home(os.environ),
        ivy_jar=spark_home.ivy_jar(),
        ivy_dir=ivy_dir,
        fetched_dir=fetched_dir,
        wanted=wanted,
        trust_store=write_trust_store(ivy_dir / "trust.p12"),
    )
    trouble = ""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, cwd=ivy_dir)
            trouble = (done.stdout + done.stderr).strip()
        except subprocess.TimeoutExpired:
            trouble = f"no answer within {_TIMEOUT_S} seconds"
        if all((fetched_dir / jar.file_name).is_file() for jar in wanted):
            return ""
        if attempt < _ATTEMPTS:
            say(f"Attempt {attempt} of {_ATTEMPTS} did not bring every jar; trying again.")
            time.sleep(2**attempt)
    return trouble


def ivy_command(
    *,
    java_home: Path,
    ivy_jar: Path,
    ivy_dir: Path,
    fetched_dir: Path,
    wanted: Sequence[Jar],
    trust_store: Path,
) -> list[str]:
    """The command line that resolves `wanted` into `fetched_dir`; writes the two XML files that it names."""
    ivy_dir.mkdir(parents=True, exist_ok=True)
    settings_file, module_file = ivy_dir / "ivysettings.xml", ivy_dir / "ivy.xml"
    settings_file.write_text(
        # Ivy's own default root of an m2 repository is Maven Central. All jars are named and pinned by us, so neither
        # their POMs nor weaker checksums are asked for: 151 jars take 18 s instead of 155.
        '<ivysettings><settings defaultResolver="central"/><resolvers>'
        '<ibiblio name="central" m2compatible="true" usepoms="false" checksums=""/></resolvers></ivysettings>\n'
    )
    module_file.write_text(
        '<ivy-module version="2.0"><info organisation="tidegate" module="local"/>'
        '<configurations><conf name="default"/></configurations><dependencies>\n'
        + "".join(
            f"<dependency org={quoteattr(jar.organisation)} name={quoteattr(jar.artifact)} "
            f'rev={quoteattr(jar.version)} conf="default->default" transitive="false"/>\n'
            for jar in wanted
        )
        + "</dependencies></ivy-module>\n"
    )
    return [
        str(java_home / "bin" / "java"),
        "-XX:-UsePerfData",
        f"-Divy.default.ivy.user.dir={ivy_dir / 'user'}",
        # Ivy looks into the home's Maven repository first: nothing of the user's is read or written.
        f"-Duser.home={ivy_dir / 'home'}",
        f"-Djava.io.tmpdir={ivy_dir}",
        f"-Djavax.net.ssl.trustStore={trust_store}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={_STORE_PASSWORD}",
        *_proxy_options(os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")),
        "-cp",
        str(ivy_jar),
        "org.apache.ivy.Main",
        "-settings",
        str(settings_file),
        "-ivy",
        str(module_file),
        "-confs",
        "default",
        "-retrieve",
        f"{fetched_dir}/[artifact]-[revision].[ext]",
    ]


def write_trust_store(path: Path) -> Path:
    """A trust store of what Python trusts: a company's own certificate authority is in it, too."""
    from cryptography import x509  # noqa: PLC0415 - needed only when something is missing
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        pkcs12,
    )

    trusted = []
    with warnings.catch_warnings():
        # Some authorities carry serial numbers that newer rules forbid; Java takes them.
        warnings.simplefilter("ignore")
        for number, der in enumerate(ssl.create_default_context().get_ca_certs(binary_form=True)):
            certificate = x509.load_der_x509_certificate(der)
            trusted.append(pkcs12.PKCS12Certificate(certificate, f"ca{number}".encode()))
        if not trusted:
            raise JarsUnavailable(
                "Python trusts no certificate authority, so nothing can be fetched over TLS. Install the "
                "system's CA certificates, or let SSL_CERT_FILE name a PEM file that holds them."
            )
        store = pkcs12.serialize_java_truststore(trusted, BestAvailableEncryption(_STORE_PASSWORD.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(store)
    return path


def _proxy_options(proxy: str | None) -> list[str]:
    """Java knows nothing of `https_proxy`."""
    if not proxy:
        return []
    host, _, port = proxy.split("://")[-1].split("@")[-1].rstrip("/").partition(":")
    return [f"-Dhttps.proxyHost={host}", f"-Dhttps.proxyPort={port or '80'}"]


def _accept(fetched: Path, target: Path, jar: Jar, ivy_dir: Path) -> None:
    found = _sha256(fetched)
    if found != jar.sha256:
        fetched.unlink()
        # Ivy keeps a copy of its own and would bring the same wrong one again.
        shutil.rmtree(ivy_dir / "user", ignore_errors=True)
        raise WrongJar(
            f"{jar.file_name} came with sha256 {found}, pinned is {jar.sha256}. It was deleted. "
            "Something between here and Maven Central changes files: fetch it over another network, or copy "
            f"the right file to {target}."
        )
    # Within one file system this is atomic: nobody ever sees half a jar.
    shutil.copyfile(fetched, target.with_suffix(".part"))
    target.with_suffix(".part").replace(target)


def _is_intact(path: Path, jar: Jar) -> bool:
    return path.is_file() and _sha256(path) == jar.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> int:
    """Fetch what is missing; 0 if all six are there."""
    here = settings.current()
    try:
        fetch(here.jars_dir, here.cache_dir, say=lambda line: print(line, file=sys.stderr))  # noqa: T201
    except (JarsUnavailable, java.JavaNotFound, spark_home.SparkNotFound) as trouble:
        print(trouble, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
