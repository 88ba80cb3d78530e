"""Target: one that fails for an input with a certain byte, to see that failures are found and reported."""

__all__ = ["run"]


def run(data: bytes) -> None:
    """Fail if a byte is 0xCA."""
    assert 0xCA not in data, "the canary sings"
