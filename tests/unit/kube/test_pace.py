# SPDX-License-Identifier: Apache-2.0
"""How long a watch waits after what, and when it gives up the revision to resume from."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from linen.kube import access, client, errors, nodes, watch
from linen.kube.client import Client
from support.host import wait_until
from support.notices import running

GONE = errors.Expired("too old resource version", 410)
AWAY = errors.ApiUnavailable("connection refused")
SILENT = errors.Silent("nothing has come for 150 s")
TOO_LARGE = errors.ApiUnavailable("too large resource version", 504)
LONG = 60.0  # seconds: a watch that worked


def after(
    *attempts: tuple[errors.KubernetesError | None, float], known: int = 0
) -> tuple[list[float], str, str]:
    """The pauses after attempts (how each ended, its seconds), the revision, the problem.

    `known`: how many Nodes there are records of.
    """

    async def body() -> tuple[list[float], str, str]:
        client = Client(access.Access("https://192.0.2.1"), "tests")
        idle = watch.Watch(client, nodes.parse_record, lambda: None)
        idle.records = {f"n{number}": nodes.NodeRecord(f"n{number}") for number in range(known)}
        idle._revision = "7"
        idle._set_problem("")
        pauses = []
        for reason, lasted in attempts:
            idle._judge(reason, lasted=lasted)
            pauses.append(idle._pause())
        return pauses, idle._revision, idle.problem

    return asyncio.run(body())


def test_a_watch_that_ends_as_it_should() -> None:
    """A watch that the server ends after its time is resumed without a pause."""
    assert after((None, LONG), (None, LONG)) == ([0, 0], "7", "")


def test_pauses_grow_and_differ() -> None:
    """Pauses double up to 30 s, each shortened by chance to no less than half; nothing is lost."""
    pauses, revision, problem = after(*[(AWAY, 0.0)] * 20)
    for pause, doubled in zip(pauses, (0.1 * 2**n for n in range(20)), strict=True):
        assert min(doubled, 30) / 2 <= pause <= min(doubled, 30)
    assert len(set(pauses)) == 20
    assert (revision, problem) == ("7", "connection refused")


def test_a_success_in_between() -> None:
    """After a watch that worked, the first pause is short again."""
    pauses, _, _ = after(*[(AWAY, 0.0)] * 10, (AWAY, LONG))
    assert pauses[-1] <= 0.1


def test_a_watch_that_ends_at_once() -> None:
    """A server that accepts watches and ends them at once is not asked without a pause."""
    pauses, revision, problem = after(*[(None, 0.0)] * 10)
    assert pauses[-1] > 10
    assert (revision, problem) == ("7", "")


def test_an_expired_revision() -> None:
    """410 Gone makes the list due, soon; until then the records may be out of date."""
    (pause,), revision, problem = after((GONE, LONG))
    assert pause <= 0.1
    assert (revision, problem) == ("", "too old resource version")


@pytest.mark.parametrize("reason", [GONE, SILENT])
def test_lists_of_a_large_cluster(reason: errors.KubernetesError) -> None:
    """What many daemons have to list anew at once is spread, over two seconds for 1,000 Nodes.

    A cluster of a few waits no longer than without.
    """
    pauses = [after((reason, LONG), known=1000)[0][0] for _ in range(200)]
    assert max(pauses) <= 0.1 + 2
    assert sum(pause <= 1 for pause in pauses) > 50 < sum(pause > 1 for pause in pauses)

    (pause,), _, _ = after((reason, LONG), known=10)
    assert pause <= 0.1 + 0.02


def test_many_nodes_and_no_list() -> None:
    """A watch that only has to be resumed does not wait for others, however many Nodes there are.

    So it is with one that ends, and with a server that is away.
    """
    assert after((None, LONG), known=10_000)[0] == [0]
    assert after((AWAY, LONG), known=10_000)[0][0] <= 0.1


def test_what_a_server_asks_for() -> None:
    """Whoever is told to come back later comes no sooner, and not with all the others."""
    busy = errors.ApiUnavailable("too many requests", 429, retry_after=10)

    pauses = {errors.pause_asked_for(busy) for _ in range(200)}

    assert 10 <= min(pauses) < 11
    assert 14 < max(pauses) <= 15
    assert errors.pause_asked_for(AWAY) == errors.pause_asked_for(GONE) == 0


def test_an_expired_revision_of_a_server_that_was_away() -> None:
    """A server that is there again, and has forgotten the revision, is asked for the list soon."""
    pauses, _, _ = after(*[(AWAY, 0.0)] * 10, (GONE, 0.0))
    assert pauses[-1] <= 0.1


def test_revisions_that_expire_again_and_again() -> None:
    """A server that forgets each revision at once is not asked for list after list."""
    pauses, _, _ = after(*[(GONE, 0.0)] * 12)
    assert pauses[-1] > 10


def test_a_revision_of_the_future() -> None:
    """A watch on which nothing comes, as of a revision that is still to come, makes the list due.

    That is soon, and until then the records may be out of date.
    """
    (pause,), revision, problem = after((SILENT, LONG))
    assert pause <= 0.1
    assert (revision, problem) == ("", "nothing has come for 150 s")


def test_a_revision_that_is_refused() -> None:
    """A revision that the server refuses again and again is given up."""
    assert after(*[(TOO_LARGE, 0.0)] * 3)[1] == "7"
    assert after(*[(TOO_LARGE, 0.0)] * 4)[1] == ""


# asyncio of Python 3.11 leaves a socket open whose connection is given up while it is being made to
# one of several addresses (`happy_eyeballs_delay`). Whichever test runs when it is collected would
# be blamed.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_server_that_takes_connections_and_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a connection that is never made counts as a failure, however long it is."""
    monkeypatch.setattr(client, "CONNECT_SECONDS", 0.05)
    pace = watch.Pace(first_pause=0.001, longest_pause=0.001, steady=0.01)

    async def body() -> None:
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            url = f"https://127.0.0.1:{deaf.getsockname()[1]}"
            async with Client(access.Access(url), "tests") as api:
                vain = watch.Watch(api, nodes.parse_record, lambda: None, pace=pace)
                async with running(vain.run()):
                    await asyncio.to_thread(
                        wait_until, lambda: vain._failures >= 5, "five failures in a row"
                    )

    asyncio.run(body())
    gc.collect()
