"""AWS's service models are megabytes of JSON, and moto makes a new session, which reads them again, for each test."""

from functools import cache

import botocore.session
from botocore.loaders import Loader, create_loader

_shared = cache(create_loader)


def share() -> None:
    """Let all sessions of this process read each model once."""

    def shared(search_path_string: str | None = None) -> Loader:
        loader = _shared(search_path_string)
        # Each boto3 session adds its own folder, which is always the same.
        loader.search_paths[:] = dict.fromkeys(loader.search_paths)
        return loader

    botocore.session.create_loader = shared
