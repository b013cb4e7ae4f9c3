"""The engines that tests are run on, by name; a test that says nothing runs on each."""

from __future__ import annotations

import pytest

MOTO, REFEREE = "moto", "dynamodb-local"
ENGINES = [MOTO, REFEREE]
on_moto = pytest.mark.parametrize("cloud", [MOTO], indirect=True)
on_referee = pytest.mark.parametrize("cloud", [REFEREE], indirect=True)
"""For races, and for tests of so many calls that moto's slowness would show."""
