"""Unit tests: the same examples each time, no clock on the tests, and no network."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("kami", derandomize=True, deadline=None)
settings.load_profile("kami")


@pytest.fixture(autouse=True)
def no_network(socket_disabled: None) -> None:
    """Nothing here has anybody to talk to."""
