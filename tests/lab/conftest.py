"""The lab's tests: seeded and short, and no way out of the process."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def no_network() -> None:
    pytest_socket.disable_socket(allow_unix_socket=True)
