"""The object store, on each backend."""

import base64
import hashlib
import random

import pytest
import pytest_asyncio
from nats.js import api
from nats.js.errors import ObjectNotFoundError


@pytest_asyncio.fixture
async def store(js, backend):
    """A bucket whose stream is made by hand, as ADR-20 says.

    nats-py cannot put metadata into an object store's configuration.
    """
    config = backend.stream(
        "OBJ_attic",
        ["$O.attic.C.>", "$O.attic.M.>"],
        discard=api.DiscardPolicy.NEW,
        allow_rollup_hdrs=True,
        allow_direct=True,
    )
    created = await js.add_stream(config)
    assert created.config.metadata["weir.backend"] == backend.name
    return await js.object_store("attic")


def digest_of(data):
    """The digest as object stores write it."""
    return "SHA-256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()


async def test_ten_mebibytes_come_back_with_their_digest(store):
    data = random.Random(10).randbytes(10 * 1024 * 1024)
    digest = digest_of(data)
    put = await store.put("film", data)
    assert (put.size, put.chunks) == (len(data), 80)
    assert (await store.get_info("film")).digest == digest
    assert digest_of((await store.get("film")).data) == digest


async def test_a_deleted_object_leaves_only_a_note(js, store):
    await store.put("notes", random.Random(1).randbytes(300_000))
    await store.delete("notes")
    with pytest.raises(ObjectNotFoundError):
        await store.get("notes")
    assert (await js.stream_info("OBJ_attic")).state.messages == 1
