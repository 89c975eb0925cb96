"""Log lines as JSON on stdout, each with the run, the pass, the table and the batch that it is about."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any


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

    def error(self, message: str, **fields: Any) -> None:
        self._write("ERROR", message, fields)

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
