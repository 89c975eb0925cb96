"""Names of the JVM, looked up once a process.

Py4J asks the JVM anew for each dotted name, and PySpark names a class and a function for each column expression that
it makes: two of three round trips of a batch were such questions, many of which throw and catch an exception there.
"""

from __future__ import annotations

from typing import Any

from py4j.java_gateway import JavaClass, JavaMember, JavaPackage
from pyspark.sql import SparkSession

_CLASSES = ("functions", "PythonUtils", "PythonSQLUtils")
"""What PySpark calls by a short name for column expressions and their arguments."""
_PACKAGES = ("org", "io", "java")


def remember_lookups(spark: SparkSession) -> None:
    """From now on the application's classes, and their functions, are looked up once. May be called again."""
    jvm: Any = spark._jvm
    for name in (*_CLASSES, *_PACKAGES):
        if name not in vars(jvm):
            setattr(jvm, name, _remembering(getattr(jvm, name)))


class _RememberingClass(JavaClass):  # type: ignore[misc] # Py4J has no types
    """A class that looks each of its functions up once."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        if isinstance(found, JavaMember):
            setattr(self, name, found)
        return found


class _RememberingPackage(JavaPackage):  # type: ignore[misc] # Py4J has no types
    """A package that looks up each of its packages and classes once."""

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        # A class that isn't there looks like a package: its jar may be added later.
        if isinstance(found, JavaClass) or (isinstance(found, JavaPackage) and name.islower()):
            found = _remembering(found)
            setattr(self, name, found)
        return found


def _remembering(found: Any) -> Any:
    if isinstance(found, JavaClass):
        return _RememberingClass(found._fqn, found._gateway_client)
    if isinstance(found, JavaPackage):
        return _RememberingPackage(found._fqn, found._gateway_client, found._jvm_id)
    return found
