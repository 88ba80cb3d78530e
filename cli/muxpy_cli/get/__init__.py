"""Fetching one URL over HTTP/2."""

from ._data import FileData
from ._fetch import Asked, fetch
from ._output import Output

__all__ = ["Asked", "FileData", "Output", "fetch"]
