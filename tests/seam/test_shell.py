"""The shell's own tests, with the second core: sending, receiving, half-close, reset, cancellation, and the end."""

from __future__ import annotations

import pytest

from tests.helpers.shell import shell_tests
from tests.session.conftest import way

__all__ = ["way"]

pytestmark = pytest.mark.no_cover  # with the first core they are traced

FILES = ("cancel", "cut", "graceful_close", "listener", "session", "splice", "stream", "wait_ended", "who_ended")

OTHERS = {
    # The server opens streams.
    "test_both_sides_open_streams_with_ids_of_their_own",
    "test_after_go_away_the_peer_opens_no_more",
    "test_a_stream_opened_before_an_announcement_arrived_is_taken",
    # The client opens streams that the server has not allowed.
    "test_streams_past_the_limit_are_refused",
    "test_a_stream_opened_before_the_go_away_arrived_is_refused",
    # There are heartbeats.
    "test_after_a_listener_was_closed_streams_are_refused",
    # Frames of muxado are counted.
    "test_statistics_count_what_passes",
}
"""Tests of those files that are about what muxado has and this protocol has not."""

globals().update(shell_tests(FILES, OTHERS))
