"""The connecting end."""

from ._client import Client
from ._session import Credentials, open_session
from ._stdio import carry_stdio

__all__ = ["Client", "Credentials", "carry_stdio", "open_session"]
