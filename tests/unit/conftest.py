"""Pure tests: milliseconds each, and no way out of the process."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def no_network() -> None:
    """Whatever opens a socket here isn't pure. pytest-socket opens them again after each test."""
    pytest_socket.disable_socket(allow_unix_socket=True)
