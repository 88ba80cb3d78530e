"""Every rule holds in both roles."""

import pytest

from .side import Side


@pytest.fixture(params=[True, False], ids=["client", "server"])
def client(request: pytest.FixtureRequest) -> bool:
    """Which role the connection under test has."""
    is_client: bool = request.param
    return is_client


@pytest.fixture
def side(client: bool) -> Side:
    """A connection with default limits, in both roles in turn."""
    return Side(client)
