"""Log lines as JSON on stdout, each with the run, the pass, the table and the batch that it is about."""

from __future__ import annotations

import json
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

from tidegate_spark.errors import summary


class Log:
    """Carries its fields into every line. One line is one write, so threads don't mix."""

    def __init__(self, **fields: Any) -> None:
        self._fields = fields

    def of(self, **fields: Any) -> Log:
        """A log whose lines carry these fields, too."""
        return Log(**{**self._fields, **fields})

    def info(self, message: str, **fields: Any) -> None:
        self._write("INFO", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._write("WARNING", message, fields)

    def failure(self, message: str, error: BaseException, **fields: Any) -> None:
        """An exception that ends here, with where it was raised, which nobody else will say."""
        fields.setdefault("error", summary(error))
        self._write("ERROR", message, {**fields, "stack": traceback.format_tb(error.__traceback__)[-5:]})

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        line = {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "service": "tidegate_spark",
            "message": message,
            **self._fields,
            **fields,
        }
        sys.stdout.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")
        sys.stdout.flush()
