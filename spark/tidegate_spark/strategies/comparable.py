"""Values of any type as something that Spark compares, also those with maps inside."""

from __future__ import annotations

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from tidegate_spark.sources.rows import quoted


def comparable(value: str, kind: DataType) -> str:
    """A SQL expression that is equal for equal values. Spark compares no maps: their sorted entries stand for them."""
    if not _has_map(kind):
        return value
    if isinstance(kind, MapType):
        entry = f"struct({comparable('e.key', kind.keyType)} AS k, {comparable('e.value', kind.valueType)} AS v)"
        return f"array_sort(transform(map_entries({value}), e -> {entry}))"
    if isinstance(kind, ArrayType):
        return f"transform({value}, e -> {comparable('e', kind.elementType)})"
    assert isinstance(kind, StructType)  # noqa: S101 - no other type has parts
    fields = (comparable(f"{value}.{quoted(field.name)}", field.dataType) for field in kind)
    return f"IF({value} IS NULL, NULL, struct({', '.join(f'{field} AS c{at}' for at, field in enumerate(fields))}))"


def _has_map(kind: DataType) -> bool:
    if isinstance(kind, StructType):
        return any(_has_map(field.dataType) for field in kind)
    return isinstance(kind, MapType) or (isinstance(kind, ArrayType) and _has_map(kind.elementType))
