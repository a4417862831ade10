"""Key-value buckets, on each backend."""

import pytest
import pytest_asyncio
from conftest import PATIENCE
from nats.js import api
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError, NoKeysError


@pytest_asyncio.fixture
async def bucket(js, backend):
    """A bucket of five revisions per key.

    nats-py cannot put metadata into a bucket's configuration, so its stream
    is made by hand, as ADR-8 says.
    """
    config = backend.stream(
        "KV_box",
        ["$KV.box.>"],
        max_msgs_per_subject=5,
        discard=api.DiscardPolicy.NEW,
        allow_rollup_hdrs=True,
        deny_delete=True,
        allow_direct=True,
    )
    created = await js.add_stream(config)
    assert created.config.metadata["weir.backend"] == backend.name
    return await js.key_value("box")


def brief(entry):
    """What a test compares of an entry."""
    return (entry.key, entry.operation, entry.value, entry.revision)


async def test_a_bucket_made_by_the_client_works_too(js):
    bucket = await js.create_key_value(bucket="plain", history=3)
    await bucket.put("key", b"value")
    assert (await bucket.get("key")).value == b"value"
    assert (await bucket.status()).history == 3


async def test_put_then_get_gives_the_latest_value(bucket):
    assert await bucket.put("city.bern", b"1") == 1
    assert await bucket.put("city.basel", b"2") == 2
    assert await bucket.put("city.bern", b"3") == 3
    entry = await bucket.get("city.bern")
    assert (entry.value, entry.revision) == (b"3", 3)
    assert (await bucket.get("city.bern", revision=1)).value == b"1"
    with pytest.raises(KeyNotFoundError):
        await bucket.get("city.chur")


async def test_history_keeps_as_many_values_as_the_bucket_allows(bucket):
    for value in range(1, 8):
        await bucket.put("key", str(value).encode())
        await bucket.put("other", b"x")
    values = [entry.value for entry in await bucket.history("key")]
    assert values == [b"3", b"4", b"5", b"6", b"7"]


async def test_a_watcher_sees_what_is_there_and_then_each_change(bucket):
    await bucket.put("light.hall", b"off")
    await bucket.put("light.hall", b"on")
    await bucket.put("door", b"shut")
    watcher = await bucket.watch("light.*")
    assert brief(await watcher.updates(PATIENCE)) == ("light.hall", None, b"on", 2)
    assert await watcher.updates(PATIENCE) is None, "the end of what was there"

    await bucket.put("door", b"open")
    await bucket.put("light.stairs", b"on")
    await bucket.delete("light.hall")
    assert brief(await watcher.updates(PATIENCE)) == ("light.stairs", None, b"on", 5)
    assert brief(await watcher.updates(PATIENCE)) == ("light.hall", "DEL", b"", 6)
    await watcher.stop()


async def test_a_deleted_key_is_gone_but_its_history_tells(bucket):
    await bucket.put("key", b"value")
    await bucket.delete("key")
    with pytest.raises(KeyNotFoundError):
        await bucket.get("key")
    history = [brief(entry) for entry in await bucket.history("key")]
    assert history == [("key", None, b"value", 1), ("key", "DEL", b"", 2)]


async def test_a_purged_key_loses_its_history(bucket):
    for value in (b"a", b"b", b"c"):
        await bucket.put("key", value)
    await bucket.put("kept", b"here")
    await bucket.purge("key")
    with pytest.raises(KeyNotFoundError):
        await bucket.get("key")
    history = [brief(entry) for entry in await bucket.history("key")]
    assert history == [("key", "PURGE", b"", 5)]
    assert (await bucket.get("kept")).value == b"here"


async def test_create_succeeds_only_where_there_is_no_value(bucket):
    assert await bucket.create("key", b"first") == 1
    with pytest.raises(KeyWrongLastSequenceError):
        await bucket.create("key", b"second")
    assert (await bucket.get("key")).value == b"first"
    await bucket.delete("key")
    assert await bucket.create("key", b"third") == 3


async def test_update_succeeds_only_at_the_expected_revision(bucket):
    first = await bucket.put("key", b"1")
    await bucket.put("other", b"x")
    assert await bucket.update("key", b"2", last=first) == 3
    with pytest.raises(KeyWrongLastSequenceError):
        await bucket.update("key", b"3", last=first)
    assert (await bucket.get("key")).value == b"2"


async def test_keys_are_those_that_have_a_value(bucket):
    with pytest.raises(NoKeysError):
        await bucket.keys()
    for key in ("a", "b.c", "b.d", "e", "a"):
        await bucket.put(key, b"x")
    await bucket.delete("e")
    assert sorted(await bucket.keys()) == ["a", "b.c", "b.d"]
