"""The systemd unit: what systemd says of it, and whether the server does with what it is allowed."""

import os
import re
import shutil
import signal
import subprocess

import nats
import pytest

from conftest import BINARIES, REPOSITORY

UNIT = REPOSITORY / "packaging/systemd/weir-server.service"
# 0 is a locked room, 10 an open one.
EXPOSURE = 1.5

systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="it takes systemd-analyze")


@systemd
def test_systemd_finds_nothing_wrong_with_it(tmp_path):
    # It wants the binary to be there.
    text = UNIT.read_text().replace("/usr/bin/weir-server", f"{BINARIES}/weir-server")
    copy = tmp_path / UNIT.name
    copy.write_text(text)
    said = subprocess.run(["systemd-analyze", "verify", "--man=no", copy], capture_output=True, text=True)
    assert (said.returncode, said.stdout + said.stderr) == (0, "")


@systemd
def test_it_exposes_little():
    said = subprocess.run(["systemd-analyze", "security", "--offline=true", UNIT], capture_output=True, text=True)
    if "unrecognized option" in said.stderr:
        pytest.skip("this systemd-analyze is older than 250")
    level = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", said.stdout)[1])
    assert level <= EXPOSURE


def filtered(name):
    """The system calls of one of systemd's sets, and of those within it."""
    said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in said.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {call for word in words for call in (filtered(word) if word.startswith("@") else [word])}


@systemd
@pytest.mark.skipif(not shutil.which("strace"), reason="it takes strace")
async def test_the_server_makes_no_system_call_that_it_forbids(tmp_path):
    permitted = set()
    # In their order: systemd adds to what is there, or takes from it.
    for words in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        calls = {call for name in words.lstrip("~").split() for call in (filtered(name) if name.startswith("@") else [name])}
        permitted = permitted - calls if words.startswith("~") else permitted | calls

    configuration = tmp_path / "conf"
    configuration.write_text(f"port: 4222\nhttp: 8222\njetstream {{ store_dir: {tmp_path}/store }}\n")
    calls = tmp_path / "calls"
    server = subprocess.Popen(["strace", "-f", "-qq", "-e", "signal=none", "-o", calls, f"{BINARIES}/weir-server", "-c", configuration],
                              stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        for line in server.stderr:
            if "Server is ready" in line:
                break
        client = await nats.connect("nats://127.0.0.1:4222")
        stream = client.jetstream()
        for backend in ("segment", "rocksdb", "memory"):
            metadata = {"weir.backend": backend}
            try:
                await stream.add_stream(name=backend, subjects=[f"{backend}.>"], metadata=metadata)
            except nats.js.errors.APIError as error:
                # A server that was built without rocksdb says so.
                assert backend == "rocksdb", error
                continue
            for number in range(20):
                await stream.publish(f"{backend}.{number}", b"a message")
            messages = await (await stream.pull_subscribe(f"{backend}.>", durable="reader")).fetch(20)
            for message in messages:
                await message.ack_sync()
            await stream.purge_stream(backend)
            await stream.delete_stream(backend)
        await client.close()
        (pid,) = set(re.findall(r"^(\d+) +execve\(", calls.read_text(), re.MULTILINE))
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            subprocess.run(["kill", f"-{int(number)}", pid], check=True)
        server.stderr.read()
        assert server.wait() == 0
    finally:
        # Strace ends by no signal but this while what it looks at runs.
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
    made = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", calls.read_text(), re.MULTILINE))
    assert {"execve", "mmap", "exit_group"} <= made, "strace's lines are read"
    assert made - permitted == set()
    assert not re.search(r"PROT_WRITE\|PROT_EXEC", calls.read_text()), "MemoryDenyWriteExecute"
