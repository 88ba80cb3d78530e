"""What a client does over the streams of any contender, and what it reports. Jobs are JSON: see each."""

from __future__ import annotations

from typing import Final

from ._base import Figures, Job, Workload
from .bulk import bulk, updates
from .connections import connections
from .echo import echo, open_close
from .http import h2load, requests
from .http_core import exchange, hpack
from .latency import latency
from .memory import memory, unread
from .programs import iperf3, wrk
from .timeline import priority, timeline

__all__ = ["WORKLOADS", "Figures", "Job", "Workload"]

WORKLOADS: Final[dict[str, Workload]] = {
    "bulk": bulk,
    "connections": connections,
    "echo": echo,
    "exchange": exchange,
    "h2load": h2load,
    "hpack": hpack,
    "iperf3": iperf3,
    "latency": latency,
    "memory": memory,
    "open": open_close,
    "priority": priority,
    "requests": requests,
    "timeline": timeline,
    "unread": unread,
    "updates": updates,
    "wrk": wrk,
}
