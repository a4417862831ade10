"""Publish and subscribe, request and reply, queue groups."""

import asyncio

import nats.errors
import pytest
from conftest import PATIENCE


async def payloads(subscription, count):
    """The next `count` payloads of a subscription."""
    return [(await subscription.next_msg(PATIENCE)).data.decode() for _ in range(count)]


async def test_wildcards_choose_which_messages_arrive(connect):
    nc = await connect()
    one_token = await nc.subscribe("shop.*.paid")
    the_rest = await nc.subscribe("shop.>")
    exact = await nc.subscribe("shop.7.paid")
    await nc.flush()

    publisher = await connect()
    subjects = [
        "shop.7.paid",
        "shop.8.paid",
        "shop.7.sent",
        "shop.7.8.paid",
        "shop",
        "shops.7.paid",
        "shop.end.paid",
        "shop.7.paid",
    ]
    for at, subject in enumerate(subjects):
        await publisher.publish(subject, str(at).encode())
    await publisher.flush()

    assert await payloads(one_token, 4) == ["0", "1", "6", "7"]
    assert await payloads(the_rest, 6) == ["0", "1", "2", "3", "6", "7"]
    assert await payloads(exact, 2) == ["0", "7"]


async def test_headers_and_empty_payloads_arrive_as_they_were_sent(connect):
    nc = await connect()
    subscription = await nc.subscribe("parcel")
    await nc.publish("parcel", b"", headers={"Colour": "blue", "Size": "3 x 4"})
    message = await subscription.next_msg(PATIENCE)
    assert message.headers == {"Colour": "blue", "Size": "3 x 4"}
    assert message.data == b""


async def test_a_request_gets_its_own_reply(connect):
    service = await connect()

    async def double(request):
        await request.respond(str(2 * int(request.data)).encode())

    await service.subscribe("double.*", cb=double)
    await service.flush()

    nc = await connect()
    answers = await asyncio.gather(
        *(nc.request("double.it", str(n).encode(), timeout=PATIENCE) for n in range(50))
    )
    assert [int(answer.data) for answer in answers] == [2 * n for n in range(50)]


async def test_a_request_nobody_serves_fails_at_once(connect):
    nc = await connect()
    with pytest.raises(nats.errors.NoRespondersError):
        await nc.request("nobody.home", b"", timeout=PATIENCE)


async def test_a_queue_group_shares_the_work_and_loses_none(connect):
    jobs = 300
    taken = []
    all_taken = asyncio.Event()

    def worker(member):
        async def take(job):
            taken.append((member, int(job.data)))
            if len(taken) == jobs:
                all_taken.set()

        return take

    members = [await connect() for _ in range(3)]
    for member, nc in enumerate(members):
        await nc.subscribe("jobs.>", queue="workers", cb=worker(member))
        await nc.flush()
    witness = await connect()
    everything = await witness.subscribe("jobs.>")
    await witness.flush()

    publisher = await connect()
    for job in range(jobs):
        await publisher.publish(f"jobs.{job}", str(job).encode())
    await publisher.flush()
    await asyncio.wait_for(all_taken.wait(), PATIENCE)
    # What was sent to any member before its PONG has arrived after this, and
    # draining hands it to the callbacks.
    for nc in members:
        await nc.drain()

    assert sorted(job for _, job in taken) == list(range(jobs))
    assert {member for member, _ in taken} == {0, 1, 2}
    assert await payloads(everything, jobs) == [str(job) for job in range(jobs)]
