from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.interop.http2.gopeer import PROGRAM
from tests.interop.http2.tls import make_tls

from .__main__ import EXCHANGES
from .plan import NARROW, Exchange, generate
from .play import Difference, all_ends, check, compare
from .views import expected_by_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.http2.tls import Tls

SEEDS = range(20)


async def check_seeds(seeds: range, tls: Tls | None = None) -> None:
    PROGRAM.require()
    async with all_ends(tls) as ends:
        for seed in seeds:
            try:
                await compare(ends, generate(seed, EXCHANGES))
            except Difference as difference:
                command = f"python -m tests.fuzz.differential.http2 --seed {seed} --exchanges {EXCHANGES}"
                pytest.fail(f"{command}{' --tls' if tls else ''}\n{difference}", pytrace=False)


@pytest.mark.live_peer
@pytest.mark.parametrize("seeds", [SEEDS[::2], SEEDS[1::2]], ids=["even", "odd"])
async def test_random_exchanges_come_to_the_same(seeds: range) -> None:
    """Fixed seeds, so that what fails once fails again."""
    await check_seeds(seeds)


@pytest.mark.live_peer
async def test_random_exchanges_come_to_the_same_over_tls(tmp_path: Path) -> None:
    await check_seeds(SEEDS[:6], make_tls(tmp_path))


def test_plans_hold_every_kind_of_exchange() -> None:
    exchanges = [exchange for seed in SEEDS for exchange in generate(seed, EXCHANGES).exchanges]
    assert {exchange.answer for exchange in exchanges} == {"late", "early", "unread"}
    assert {exchange.client_reset for exchange in exchanges} == {"", "open", "closed", "at any time"}
    assert {exchange.wait_for for exchange in exchanges if exchange.wait_at >= 0} == {"head", "body"}
    assert any(exchange.body is None for exchange in exchanges)
    assert any(exchange.body == () and exchange.trailers for exchange in exchanges)
    assert any(exchange.server_reset == 0 for exchange in exchanges)
    assert any(exchange.server_reset > 1 for exchange in exchanges)
    assert any(exchange.bodiless and exchange.response_length for exchange in exchanges)
    assert any(exchange.announce for exchange in exchanges)
    assert any(sum(exchange.body or ()) > 65_535 for exchange in exchanges)


def test_some_plans_make_the_client_wait() -> None:
    plans = [generate(seed, EXCHANGES) for seed in SEEDS]
    assert {plan.streams for plan in plans} == {0, NARROW}


def test_an_exchange_alone_is_the_one_of_its_plan() -> None:
    """Otherwise shortening would not lead to the same failure."""
    assert generate(3, EXCHANGES, [7]).exchanges == [generate(3, EXCHANGES).exchanges[7]]


EXCHANGE = Exchange(1, "POST", fields=(("x-a", "1"), ("x-b", "2"), ("x-a", "3")), body=(5,), trailers=(("x-c", "4"),))


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "/other"},
        {"fields": (("x-a", "3"), ("x-a", "1"), ("x-b", "2"))},
        {"fields": EXCHANGE.fields[1:]},
        {"fields": (*EXCHANGE.fields, ("x-more", ""))},
        {"body": "6 bytes"},
        {"trailers": ()},
        {"end": "reset CANCEL"},
        {"cut": True},
    ],
    ids=["path", "order", "lost", "added", "body", "trailers", "end", "cut"],
)
def test_what_differs_is_reported(wrong: dict[str, Any]) -> None:
    right = expected_by_server(EXCHANGE)
    assert right is not None
    check(EXCHANGE, "the server", [right], right)
    with pytest.raises(Difference, match="the server saw"):
        check(EXCHANGE, "the server", [replace(right, **wrong)], right)


def test_what_may_differ_is_not_reported() -> None:
    right = expected_by_server(EXCHANGE)
    assert right is not None
    in_go = replace(right, fields=(("X-B", "2"), ("X-A", "1"), ("Trailer", "x-c"), ("X-A", "3")), length=5)
    check(EXCHANGE, "the server", [in_go], right)
