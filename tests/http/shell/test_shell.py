"""The shell's own tests over tunnels of HTTP/2: sending, receiving, half-close, reset, cancellation, and the end."""

from __future__ import annotations

from tests.helpers.shell import shell_tests
from tests.session.conftest import way

__all__ = ["way"]

FILES = (
    "cancel",
    "cut",
    "graceful_close",
    "listener",
    "session",
    "splice",
    "stream",
    "wait_ended",
    "who_ended",
    "cancel_under_load",
    "cancelled_ends",
    "tight_transport",
    "splice_breaks",
    "splice_ends",
    "splice_head",
    "splice_interleavings",
    "splice_pacer",
    "nowait",
    "freed",
    "handlers",
    "ends_between_turns",
    "windows",
    "ending",
)

OTHERS = {
    # The server opens streams.
    "test_both_sides_open_streams_with_ids_of_their_own",
    "test_after_go_away_the_peer_opens_no_more",
    "test_a_stream_opened_before_an_announcement_arrived_is_taken",
    # The client opens streams that the server has not allowed.
    "test_streams_past_the_limit_are_refused",
    # Streams have numbers.
    "test_priority_has_31_bits",
    "test_stream_type_has_32_bits",
    "test_numbers_of_a_stream_are_integers",
    "test_the_largest_numbers_arrive",
    "test_a_stream_knows_what_it_is",
    "test_open_send_and_receive",
    "test_numbers_outside_their_range",
    # The opener is done before the stream was accepted: a tunnel is given up then.
    "test_sending_closing_and_leaving_at_once_loses_nothing",
    "test_what_arrived_can_be_read_after_the_session_has_ended",
    "test_a_cut_after_a_fin_keeps_what_the_fin_completed",
    "test_dial_opens_a_stream_whatever_the_address",
    "test_iterating_accepts_until_the_peer_closes",
    "test_any_kind_of_bytes_can_be_sent",
    "test_a_memoryview_of_larger_items_counts_in_bytes",
    "test_max_bytes_bounds_what_is_returned",
    # The end of a socket has a code of its own.
    "test_a_socket_that_is_reset_breaks_the_stream",
    # There are heartbeats.
    "test_after_a_listener_was_closed_streams_are_refused",
    # Frames of muxado are counted, or sent.
    "test_statistics_count_what_passes",
    "test_a_session_is_freed_when_its_peer",
    "test_tiny_frames_are_read_a_few_at_a_time_and_bulk_as_before",
}
"""Tests of those files that are about what muxado has and this protocol has not."""

globals().update(shell_tests(FILES, OTHERS))
