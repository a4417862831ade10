"""What the server tells those who listen to its events."""

import asyncio
import json

from conftest import PATIENCE
from nats.js.api import AckPolicy, ConsumerConfig

PREFIX = "$JS.EVENT.ADVISORY."


async def test_streams_and_consumers_are_announced_and_requests_audited(connect):
    nc = await connect()
    heard = asyncio.Queue()

    async def note(message):
        await heard.put((message.subject.removeprefix(PREFIX), json.loads(message.data)))

    await nc.subscribe(PREFIX + ">", cb=note)
    await nc.flush()

    async def ask(call, **fields):
        body = json.dumps(fields).encode() if fields else b""
        answer = json.loads((await nc.request("$JS.API." + call, body, timeout=PATIENCE)).data)
        assert "error" not in answer, answer

    others = []

    async def hear(where, kind, **fields):
        """The first event of that subject that says this; an event and the audit of its request come in any order."""
        matches = lambda found, event: found == where and all(event[name] == value for name, value in fields.items())
        while not any(matches(*other) for other in others):
            others.append(await asyncio.wait_for(heard.get(), PATIENCE))
        event = next(event for found, event in others if matches(found, event))
        others.remove((where, event))
        assert event["type"] == "io.nats.jetstream.advisory.v1." + kind
        assert event["id"] and event["timestamp"]
        return event

    await ask("STREAM.CREATE.HEARD", name="HEARD", subjects=["heard"])
    await hear("STREAM.CREATED.HEARD", "stream_action", stream="HEARD", action="create")
    audit = await hear("API", "api_audit", subject="$JS.API.STREAM.CREATE.HEARD")
    assert json.loads(audit["request"])["name"] == "HEARD"
    assert json.loads(audit["response"])["config"]["name"] == "HEARD"
    assert audit["client"]["lang"] == "python3" and audit["client"]["acc"] == "$G"
    await ask("STREAM.UPDATE.HEARD", name="HEARD", subjects=["heard", "more"])
    await hear("STREAM.UPDATED.HEARD", "stream_action", action="modify")
    config = {"name": "C", "durable_name": "C", "ack_policy": "explicit"}
    await ask("CONSUMER.CREATE.HEARD.C", stream_name="HEARD", config=config)
    await hear("CONSUMER.CREATED.HEARD.C", "consumer_action", consumer="C", action="create")
    await ask("CONSUMER.PAUSE.HEARD.C", pause_until="2099-01-01T00:00:00Z")
    await hear("CONSUMER.PAUSE.HEARD.C", "consumer_pause", paused=True)
    await ask("CONSUMER.DELETE.HEARD.C")
    await hear("CONSUMER.DELETED.HEARD.C", "consumer_action", action="delete")
    await ask("STREAM.DELETE.HEARD")
    await hear("STREAM.DELETED.HEARD", "stream_action", action="delete")


async def test_what_becomes_of_messages_is_told(connect):
    nc = await connect()
    js = nc.jetstream(timeout=PATIENCE)
    heard = asyncio.Queue()

    async def note(message):
        await heard.put((message.subject, json.loads(message.data)))

    await nc.subscribe("$JS.EVENT.*.CONSUMER.>", cb=note)
    await js.add_stream(name="FATE", subjects=["fate"])
    config = ConsumerConfig(
        durable_name="C",
        deliver_subject="push",
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=3600,
        max_deliver=2,
        sample_freq="100%",
    )
    messages = await nc.subscribe("push")
    await js.add_consumer("FATE", config)

    async def hear(where, **fields):
        while True:
            found, event = await asyncio.wait_for(heard.get(), PATIENCE)
            if found == f"$JS.EVENT.{where}.FATE.C":
                break
        for name, value in fields.items():
            assert event[name] == value, event
        return event

    await js.publish("fate", b"acknowledged")
    await (await messages.next_msg(PATIENCE)).ack()
    metric = await hear("METRIC.CONSUMER.ACK", stream_seq=1, consumer_seq=1, deliveries=1)
    assert metric["type"] == "io.nats.jetstream.metric.v1.consumer_ack" and metric["ack_time"] > 0
    await js.publish("fate", b"refused, then ended")
    await (await messages.next_msg(PATIENCE)).nak()
    await hear("ADVISORY.CONSUMER.MSG_NAKED", stream_seq=2, deliveries=1)
    await (await messages.next_msg(PATIENCE)).term()
    await hear("ADVISORY.CONSUMER.MSG_TERMINATED", stream_seq=2, deliveries=2)
    # Whatever is to be acknowledged has time for that.
    config.ack_wait = 0.3
    await js.add_consumer("FATE", config)
    await js.publish("fate", b"never acknowledged")
    await hear("ADVISORY.CONSUMER.MAX_DELIVERIES", stream_seq=3, deliveries=2)
