"""One local cloud for all tests that need the whole system: really deployed, really taken down."""

from collections.abc import Iterator

import pytest
from clouds import Cloud, assert_nothing_is_left, own_settings
from systems import System
from tidegate_local import launcher


@pytest.fixture(scope="session")
def local_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    here = own_settings(tmp_path_factory.mktemp("cloud"))
    try:
        cloud = Cloud(launcher.start(here), here)
        cloud.switch_schedule(on=False)
        yield cloud
    finally:
        launcher.down(here=here)
    assert_nothing_is_left(here)


@pytest.fixture(scope="module")
def system(local_cloud: Cloud) -> Iterator[System]:
    made = System(local_cloud)
    yield made
    assert made.live_clusters() == []
