"""Calling a method of a service (`muxpy.rpc`), and asking which there are, without knowing its types.

Nothing else of the program needs msgspec, so this is loaded when it is used.
"""

from ._call import call
from ._input import check_arguments
from ._listing import names, show
from ._target import Target

__all__ = ["Target", "call", "check_arguments", "names", "show"]
