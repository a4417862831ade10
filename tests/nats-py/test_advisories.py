"""What the server tells those who listen to its events."""

import asyncio
import json

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
        answer = json.loads((await nc.request("$JS.API." + call, body)).data)
        assert "error" not in answer, answer

    async def hear(where, kind, **fields):
        """The next event of that subject; those before it belong to other subjects."""
        while True:
            found, event = await asyncio.wait_for(heard.get(), 5)
            if found == where:
                break
        assert event["type"] == "io.nats.jetstream.advisory.v1." + kind
        assert event["id"] and event["timestamp"]
        for name, value in fields.items():
            assert event[name] == value, event
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
