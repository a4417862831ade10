"""The server under test, one for each test.

WEIR_SERVER names the program, or it is the workspace's release build.
"""

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
import pytest_asyncio
from nats.js import JetStreamContext, api

START_LIMIT = 120.0
POLL = 0.005
# Seconds that anything may take: far more than it does, on a machine that has other things to do as well.
PATIENCE = 60


def program() -> Path:
    """The server to test."""
    named = os.environ.get("WEIR_SERVER")
    if named:
        return Path(named)
    workspace = Path(__file__).resolve().parent.parent.parent
    target = Path(os.environ.get("CARGO_TARGET_DIR", workspace / "target"))
    return target / "release" / "weir-server"


def client_address(directory: Path) -> str | None:
    """The address in the ports file; None while that is missing or half written."""
    for path in directory.glob("*.ports"):
        try:
            return json.loads(path.read_text())["nats"][0]
        except json.JSONDecodeError:
            pass
    return None


async def connect_to(url: str) -> nats.NATS:
    """A connection that fails at once instead of trying again."""

    async def ignore(_error):
        """Failures reach the test as exceptions of the calls themselves."""

    return await nats.connect(url, allow_reconnect=False, connect_timeout=PATIENCE, error_cb=ignore)


async def wait_until_ready(child: subprocess.Popen, directory: Path) -> str:
    """Waits until the server takes connections, and returns its address."""
    deadline = asyncio.get_running_loop().time() + START_LIMIT
    while asyncio.get_running_loop().time() < deadline:
        if child.poll() is not None:
            raise RuntimeError(f"the server exited: {child.returncode}")
        url = client_address(directory)
        if url:
            try:
                await (await connect_to(url)).close()
                return url
            except (OSError, nats.errors.Error):
                pass  # Not listening yet.
        await asyncio.sleep(POLL)
    raise RuntimeError(f"no connection possible after {START_LIMIT} s")


LOG = pytest.StashKey[Path]()


@pytest_asyncio.fixture
async def configured(tmp_path, request):
    """Starts a server on this configuration, and returns its URL. Nobody has to be let in for it."""
    children = []

    async def start(configuration):
        log = tmp_path / "server.log"
        request.node.stash[LOG] = log
        file = tmp_path / "server.conf"
        file.write_text(configuration)
        command = [program(), "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", tmp_path / "store", "-c", file]
        with log.open("wb") as output:
            child = subprocess.Popen(
                [*command, "--ports_file_dir", tmp_path], stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        children.append(child)
        deadline = asyncio.get_running_loop().time() + START_LIMIT
        while asyncio.get_running_loop().time() < deadline:
            assert child.poll() is None, "the server exited"
            url = client_address(tmp_path)
            if url:
                return url
            await asyncio.sleep(POLL)
        raise RuntimeError("the server does not listen")

    yield start
    for child in children:
        child.kill()
        child.wait()


@pytest_asyncio.fixture
async def server(tmp_path, request):
    """The address of a fresh server, with a store of its own."""
    path = program()
    assert path.exists(), (
        f"there is no server at {path}: build it with "
        "`cargo build --release -p weir-broker`, or name one with WEIR_SERVER"
    )
    log = tmp_path / "server.log"
    request.node.stash[LOG] = log
    command = [path, "-a", "127.0.0.1", "-p", "-1", "-js", "-sd", tmp_path / "store"]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [*command, "--ports_file_dir", tmp_path],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield await wait_until_ready(child, tmp_path)
    finally:
        child.kill()
        child.wait()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Puts the server's log beside the report of a failure."""
    report = yield
    log = item.stash.get(LOG, None)
    if report.failed and log and log.exists():
        report.sections.append(("log of the server", log.read_text(errors="replace")))
    return report


@pytest_asyncio.fixture
async def connect(server):
    """Opens connections, which are closed after the test."""
    connections = []

    async def connect_once() -> nats.NATS:
        connection = await connect_to(server)
        connections.append(connection)
        return connection

    yield connect_once
    for connection in connections:
        await connection.close()


@pytest_asyncio.fixture
async def js(connect) -> JetStreamContext:
    """A JetStream context on a connection of its own."""
    return (await connect()).jetstream(timeout=PATIENCE)


@dataclass(frozen=True)
class Backend:
    """A storage backend, as a stream configuration asks for it."""

    name: str
    storage: api.StorageType

    def stream(self, name: str, subjects: list[str], **more) -> api.StreamConfig:
        """A stream configuration on this backend."""
        return api.StreamConfig(
            name=name,
            subjects=subjects,
            storage=self.storage,
            metadata={"weir.backend": self.name},
            **more,
        )


BACKENDS = [
    Backend("segment", api.StorageType.FILE),
    Backend("rocksdb", api.StorageType.FILE),
    Backend("memory", api.StorageType.MEMORY),
]


@pytest.fixture(params=BACKENDS, ids=lambda backend: backend.name)
def backend(request) -> Backend:
    """Each backend in turn."""
    return request.param
