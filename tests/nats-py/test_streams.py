"""Work queues and replay, on each backend."""

from conftest import PATIENCE
from nats.js import api


async def pull(subscription, count):
    """Exactly `count` messages, over as many pulls as it takes."""
    messages = []
    while len(messages) < count:
        messages += await subscription.fetch(count - len(messages), timeout=PATIENCE)
    return messages


def sequence(message):
    """The message's sequence in its stream."""
    return message.metadata.sequence.stream


async def test_a_work_queue_redelivers_what_was_refused_and_empties_when_all_is_acked(js, backend):
    jobs = 30
    config = backend.stream("WORK", ["work.>"], retention=api.RetentionPolicy.WORK_QUEUE)
    created = await js.add_stream(config)
    assert created.config.metadata["weir.backend"] == backend.name
    for job in range(1, jobs + 1):
        ack = await js.publish(f"work.{job % 3}", str(job).encode())
        assert ack.seq == job
    worker = await js.pull_subscribe(
        "work.>",
        durable="worker",
        stream="WORK",
        config=api.ConsumerConfig(ack_policy=api.AckPolicy.EXPLICIT, ack_wait=3600),
    )

    refused = []
    for message in await pull(worker, jobs):
        assert message.data == str(sequence(message)).encode()
        assert message.metadata.num_delivered == 1
        if sequence(message) % 3 == 0:
            refused.append(sequence(message))
            await message.nak()
        else:
            await message.ack_sync(timeout=PATIENCE)
    assert len(refused) == jobs // 3
    again = await pull(worker, len(refused))
    assert sorted(sequence(message) for message in again) == refused
    assert {message.metadata.num_delivered for message in again} == {2}

    state = (await js.stream_info("WORK")).state
    assert state.messages == len(refused), "acked work stays in the stream"
    assert state.first_seq == refused[0]
    info = await js.consumer_info("WORK", "worker")
    assert (info.num_ack_pending, info.num_redelivered) == (len(refused), len(refused))
    assert info.num_pending == 0

    for message in again:
        await message.ack_sync(timeout=PATIENCE)
    state = (await js.stream_info("WORK")).state
    assert (state.messages, state.last_seq) == (0, jobs)
    assert (await js.consumer_info("WORK", "worker")).num_ack_pending == 0


async def replay(js, config, count):
    """`count` payloads from where `config` starts; no more may follow."""
    subscription = await js.subscribe("tape.*", stream="TAPE", ordered_consumer=True, config=config)
    messages = [await subscription.next_msg(timeout=PATIENCE) for _ in range(count)]
    assert messages[-1].metadata.num_pending == 0, "more follows than should"
    await subscription.unsubscribe()
    return [int(message.data) for message in messages]


async def test_a_stream_replays_from_the_start_a_sequence_and_a_time(js, backend):
    await js.add_stream(backend.stream("TAPE", ["tape.*"]))
    for n in range(1, 101):
        await js.publish(f"tape.{n % 5}", str(n).encode())

    assert await replay(js, api.ConsumerConfig(), 100) == list(range(1, 101))
    from_41 = api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=41
    )
    assert await replay(js, from_41, 60) == list(range(41, 101))
    # To the nanosecond, as the server gives it; a datetime would round it.
    stored = await js._api_request("$JS.API.STREAM.MSG.GET.TAPE", b'{"seq": 61}')
    from_61 = api.ConsumerConfig(
        deliver_policy=api.DeliverPolicy.BY_START_TIME,
        opt_start_time=stored["message"]["time"],
    )
    assert await replay(js, from_61, 40) == list(range(61, 101))
