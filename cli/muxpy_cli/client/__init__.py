"""The connecting end."""

from ._client import Client
from ._session import Credentials, log_in, reach
from ._stdio import carry_stdio

__all__ = ["Client", "Credentials", "carry_stdio", "log_in", "reach"]
