"""What the programs for long runs take on their command lines."""

import argparse

__all__ = ["seconds"]


def seconds(text: str) -> float:
    """A time that is more than nothing, and less than eleven days."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"it must be a number of seconds, not {text!r}")
    return number
