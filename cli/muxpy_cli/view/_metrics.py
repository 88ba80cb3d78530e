"""What Prometheus reads, made from a snapshot.

A scrape has a bounded number of series, however many peers there are: the labels of a session are the host (not the
port, which differs each time) and the user, and only the first MAX_SERIES sessions and forwards have series of their
own. How many are left out is a metric too; the totals count everything.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ..specs import excerpt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from prometheus_client.core import Metric

    from ._snapshot import ForwardState, Snapshot

    _Labels: TypeAlias = tuple[str, ...]

__all__ = ["MAX_SERIES", "encode_metrics"]

MAX_SERIES: Final = 100
"""Sessions, and as many forwards, that get series of their own."""

SESSION_STATES: Final = ("connecting", "waiting", "connected", "draining")
SESSION_LABELS: Final = ("peer", "user")
FORWARD_LABELS: Final = ("forward", "direction", "kind", "bind", "user")


def encode_metrics(snapshot: Snapshot, accept: str) -> tuple[str, bytes]:
    """The content type and the text, in the format that the Accept header asks for, with the first MAX_SERIES sessions
    and forwards of `snapshot`."""
    try:
        encode, content_type = choose_encoder(accept)
    except Exception:  # it fails for a version that is not a number
        encode, content_type = choose_encoder("")
    registry = CollectorRegistry(auto_describe=False)  # contains only this process and its snapshot
    registry.register(_One(snapshot))
    registry.register(_process_collector)
    return content_type, encode(registry)


_process_collector = ProcessCollector(registry=None)


class _One(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        return ()  # known only with the snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield from _process(snapshot)
        yield from _totals(snapshot)
        yield from _sessions(snapshot, with_ports=snapshot.role == "connect")
        yield from _forwards(snapshot.forwards)


def _process(snapshot: Snapshot) -> Iterator[Metric]:
    build = {"version": excerpt(snapshot.version), "role": excerpt(snapshot.role)}
    yield InfoMetricFamily("muxpy_build", "The version and the role of the process.", build)
    yield GaugeMetricFamily("muxpy_ready", "1 if it is ready, as /readyz says.", is_ready(snapshot))
    yield GaugeMetricFamily("muxpy_draining", "1 while open connections finish at the end.", int(snapshot.draining))
    started = snapshot.started
    yield GaugeMetricFamily(
        "muxpy_start_time_seconds", "When the process was started, as Unix time.", started, unit="seconds"
    )
    omitted = GaugeMetricFamily("muxpy_omitted", "How many are left out of the series below.", labels=["what"])
    for what, states, more in (
        ("sessions", snapshot.sessions, snapshot.unlisted.sessions),
        ("forwards", snapshot.forwards, snapshot.unlisted.forwards),
    ):
        omitted.add_metric([what], max(0, len(states) - MAX_SERIES) + more)
    yield omitted


def is_ready(snapshot: Snapshot) -> int:
    """1 if it takes new work."""
    return int(snapshot.ready and not snapshot.draining)


def _totals(snapshot: Snapshot) -> Iterator[Metric]:
    totals = snapshot.totals
    yield CounterMetricFamily("muxpy_received_bytes", "Received on all sessions.", totals.received, unit="bytes")
    yield CounterMetricFamily("muxpy_sent_bytes", "Sent on all sessions.", totals.sent, unit="bytes")
    for name, text, value in (
        ("muxpy_sessions_established", "Sessions that were set up.", totals.sessions),
        ("muxpy_connections", "Forwarded connections accepted.", totals.connections),
        ("muxpy_connections_failed", "Of those, the ones that reached no target.", totals.failed),
        ("muxpy_refused", "Connections and forwards that a rule or a limit refused.", totals.refused),
        ("muxpy_auth_failures", "Peers that failed to authenticate.", totals.auth_failures),
        ("muxpy_reconnects", "Sessions that were set up again after one was lost.", totals.reconnects),
    ):
        yield CounterMetricFamily(name, text, value)


def _sessions(snapshot: Snapshot, *, with_ports: bool) -> Iterator[Metric]:
    sessions, more = snapshot.sessions, snapshot.unlisted
    states = Counter(session.state for session in sessions)
    states.update(connected=more.sessions - more.draining, draining=more.draining)
    counts = GaugeMetricFamily("muxpy_sessions", "Sessions, by their state.", labels=["state"])
    for state in SESSION_STATES:  # also states without sessions: an absent series cannot be compared
        counts.add_metric([state], states[state])
    yield counts
    streams: Counter[_Labels] = Counter()
    rtts: dict[_Labels, float] = {}
    for session in sessions[:MAX_SERIES]:
        labels = _labels(session.peer if with_ports else session.peer.rpartition(":")[0] or session.peer, session.user)
        streams[labels] += session.streams
        if session.rtt is not None:
            rtts[labels] = max(session.rtt, rtts.get(labels, 0.0))
    yield _gauge("muxpy_session_streams", "Streams that are open.", SESSION_LABELS, streams)
    text = "Round trip; the longest of the peer's sessions."
    yield _gauge("muxpy_session_rtt_seconds", text, SESSION_LABELS, rtts, unit="seconds")


def _forwards(forwards: Sequence[ForwardState]) -> Iterator[Metric]:
    shown = [(_forward_labels(forward), forward) for forward in forwards[:MAX_SERIES]]
    bound = _sums((labels, int(forward.state == "bound")) for labels, forward in shown)
    yield _gauge("muxpy_forward_bound", "How many forwards of this kind are bound.", FORWARD_LABELS, bound)
    # Not muxpy_forward_connections, which OpenMetrics has as one family with muxpy_forward_connections_total.
    still = _sums((labels, forward.connections) for labels, forward in shown)
    yield _gauge("muxpy_forward_open_connections", "Connections that are open.", FORWARD_LABELS, still)
    for name, text, unit, counts in (
        ("connections", "Connections accepted.", "", [forward.total for _, forward in shown]),
        ("failed", "Of those, the ones that reached no target.", "", [forward.failed for _, forward in shown]),
        ("received_bytes", "From the side where it is bound.", "bytes", [forward.received for _, forward in shown]),
        ("sent_bytes", "To the side where it is bound.", "bytes", [forward.sent for _, forward in shown]),
    ):
        family = CounterMetricFamily(f"muxpy_forward_{name}", text, labels=FORWARD_LABELS, unit=unit)
        for labels, value in _sums(zip((labels for labels, _ in shown), counts, strict=True)).items():
            family.add_metric(labels, value)
        yield family


def _forward_labels(forward: ForwardState) -> _Labels:
    return _labels(forward.name, forward.direction, forward.kind, forward.bind, forward.user)


def _labels(*values: str | None) -> _Labels:
    return tuple(excerpt(value or "") for value in values)


def _sums(values: Iterable[tuple[_Labels, int]]) -> Counter[_Labels]:
    """One value for each set of labels: a duplicate series would make the whole scrape invalid."""
    sums: Counter[_Labels] = Counter()
    for labels, value in values:
        sums[labels] += value
    return sums


def _gauge(
    name: str, text: str, labels: Sequence[str], values: Counter[_Labels] | dict[_Labels, float], unit: str = ""
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels, unit=unit)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family
