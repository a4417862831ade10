"""The image in the place of the official one: the same arguments, paths, ports, signals and exit codes."""

import os
import re
import signal
import socket
import subprocess
import urllib.request

import nats
import nats.errors
import pytest

from containers import REPOSITORY, Container, Service, Stage

FULL, BARE = Stage("full"), Stage("bare")
PASSWORDS = {"APP_PASSWORD": "for-the-app", "ADMIN_PASSWORD": "for-the-admin"}


async def publish(count, **credentials):
    client = await nats.connect("nats://127.0.0.1:4222", **credentials)
    stream = client.jetstream()
    await stream.add_stream(name="ORDERS", subjects=["orders.>"])
    for number in range(count):
        await stream.publish("orders.eu", str(number).encode())
    await client.close()


async def stored(**credentials):
    client = await nats.connect("nats://127.0.0.1:4222", **credentials)
    count = (await client.jetstream().stream_info("ORDERS")).state.messages
    await client.close()
    return count


def healthy():
    with urllib.request.urlopen("http://127.0.0.1:8222/healthz") as answer:
        return answer.status == 200


def volume_for(service, tmp_path):
    """The service's volumes, with folders of the test in the place of named ones."""
    (tmp_path / "data").mkdir(exist_ok=True)
    # As an engine makes it: with the mode of the folder in the image.
    (tmp_path / "data").chmod(0o1777)
    compose = REPOSITORY / "packaging/compose"
    return [re.sub(r"^\./", f"{compose}/", re.sub(r"^data:", f"{tmp_path}/data:", volume)) for volume in service.volumes]


def test_the_dockerfile_copies_what_is_tested_here():
    text = (REPOSITORY / "Dockerfile").read_text()
    assert FULL.copies == ["--from=build /image/full /"] and BARE.copies == ["--from=build /image/bare /"]
    assert "packaging/container/assemble target/release /image/full" in text
    assert "packaging/container/assemble --bare target/release /image/bare" in text
    assert FULL.ports == BARE.ports == ["4222", "8222", "6222"]
    assert re.findall("^FROM .* AS (.*)$", text, re.MULTILINE)[-1] == "full", "what docker build makes by default"


def test_it_says_of_which_nats_server_it_takes_the_place(full):
    with Container(full, FULL, ["--version"]) as container:
        assert container.ended() == 0
        assert f"nats-server: v{FULL.environment['NATS_SERVER']}" in container.lines


@pytest.mark.parametrize("image", ["full", "bare"])
async def test_a_server_by_flags_keeps_its_data_on_the_volume(image, request, tmp_path):
    root, stage = request.getfixturevalue(image), {"full": FULL, "bare": BARE}[image]
    service = Service("flags.yaml")
    volumes = volume_for(service, tmp_path)
    with Container(root, stage, service.command, volumes=volumes) as container:
        container.ready()
        await publish(100)
        assert healthy()
        if image == "full":
            answer = container.run(service.healthcheck)
            assert (answer.returncode, answer.stdout) == (0, '{"status":"ok"}')
        assert container.signal(signal.SIGTERM).ended() == 0
    with Container(root, stage, service.command, volumes=volumes) as container:
        container.ready()
        assert await stored() == 100
        await publish(50)
        container.signal(signal.SIGKILL).ended()
    with Container(root, stage, service.command, volumes=volumes) as container:
        container.ready()
        assert await stored() == 150, "acknowledged is stored, whatever ends the container"


@pytest.mark.parametrize("image", ["full", "bare"])
async def test_a_configured_server_needs_neither_root_nor_a_writable_root(image, request, tmp_path):
    root, stage = request.getfixturevalue(image), {"full": FULL, "bare": BARE}[image]
    service = Service("configured.yaml")
    assert service.read_only and service.user == "1000:1000"
    with Container(root, stage, service.command, volumes=volume_for(service, tmp_path), environment=PASSWORDS,
                   user=service.user, read_only=service.read_only) as container:
        container.ready()
        status = dict(re.findall(r"^(\w+):\s+(\d+)", open(f"/proc/{container.pid}/status").read(), re.MULTILINE))
        assert status["Uid"] == "1000" and status["CapEff"] == "0000000000000000"
        app = {"user": "app", "password": PASSWORDS["APP_PASSWORD"]}
        await publish(10, **app)
        assert await stored(**app) == 10
        with pytest.raises(nats.errors.Error):
            await nats.connect("nats://127.0.0.1:4222", user="app", password="wrong", allow_reconnect=False)
        assert container.signal(signal.SIGTERM).ended() == 0


@pytest.mark.parametrize(
    "command",
    [None, [], ["-js", "-m", "8222"], ["nats-server", "-js", "-m", "8222"], ["-c", "/etc/nats/nats-server.conf"],
     ["/nats-server", "-m", "8222"], ["weir-server", "-m", "8222"], ["sh", "-c", "exec nats-server -m 8222"]],
    ids=str,
)
def test_every_way_to_start_it(full, command):
    with Container(full, FULL, command) as container:
        container.ready()
        socket.create_connection(("127.0.0.1", 4222)).close()
        # `docker run nats` without arguments has the configuration; with the entry point alone there is none.
        assert command == [] or healthy()
        assert container.signal(signal.SIGTERM).ended() == 0


def test_a_configuration_mounted_where_either_image_has_its_own(full, bare, tmp_path):
    (tmp_path / "mine.conf").write_text("server_name: mine\n")
    for root, stage in ((full, FULL), (bare, BARE)):
        for place in ("/etc/nats/nats-server.conf", "/nats-server.conf"):
            with Container(root, stage, volumes=[f"{tmp_path}/mine.conf:{place}:ro"]) as container:
                container.ready().says("Name:     mine")
                assert container.signal(signal.SIGINT).ended() == 0


def test_what_is_run_inside_finds_the_server(full, tmp_path):
    (tmp_path / "mine.conf").write_text("port: 4222\ndebug: false\n")
    volumes = [f"{tmp_path}/mine.conf:/etc/nats/nats.conf:ro"]
    with Container(full, FULL, ["-c", "/etc/nats/nats.conf"], volumes=volumes) as container:
        container.ready()
        # In place: it is the same file that is mounted.
        (tmp_path / "mine.conf").write_text("port: 4222\ndebug: true\n")
        assert container.run(["nats-server", "--signal", "reload"]).returncode == 0
        container.says("Reloaded: debug = true")
        assert container.run(["kill", "-HUP", "1"]).returncode == 0
        # Nobody is connected, so lame duck mode ends at once, and takes with it all that runs inside.
        container.run(["nats-server", "--signal", "ldm"])
        assert container.ended() == 0


def test_a_wrong_configuration_ends_it_with_1(full, tmp_path):
    (tmp_path / "wrong.conf").write_text("prot: 4222\n")
    with Container(full, FULL, ["-c", "/wrong.conf"], volumes=[f"{tmp_path}/wrong.conf:/wrong.conf:ro"]) as container:
        assert container.ended() == 1
        container.says("/wrong.conf")


@pytest.mark.skipif("NATS_SERVER" not in os.environ, reason="NATS_SERVER names no genuine server to compare with")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGUSR2"])
def test_signals_end_it_with_the_code_of_the_genuine_server(full, name):
    with Container("/", FULL, ["-p", "4222"], entrypoint=[os.environ["NATS_SERVER"]]) as container:
        genuine = container.ready().signal(getattr(signal, name)).ended()
    with Container(full, FULL, ["-p", "4222"]) as container:
        ours = container.ready().signal(getattr(signal, name)).ended()
    assert ours == genuine == 0


async def test_the_streams_of_a_genuine_server_come_over(full, tmp_path):
    if "NATS_SERVER" not in os.environ:
        pytest.skip("NATS_SERVER names no genuine server to take a volume over from")
    volume = tmp_path / "data"
    volume.mkdir()
    with Container("/", FULL, ["-js", "-sd", str(volume)], entrypoint=[os.environ["NATS_SERVER"]]) as container:
        container.ready()
        await publish(100)
        assert container.signal(signal.SIGTERM).ended() == 0
    # As docs/packages.md has it.
    imported = ["weir", "import", "/data", "--from-nats", "/data"]
    with Container(full, FULL, imported, volumes=[f"{volume}:/data"]) as container:
        assert container.ended() == 0, container.lines
    assert (volume / "jetstream").is_dir(), "what nats-server had stays"
    with Container(full, FULL, ["-js", "-sd", "/data"], volumes=[f"{volume}:/data"]) as container:
        container.ready()
        assert await stored() == 100


def test_the_compose_file_changes_one_word():
    """Whether the files say nothing that only Weir's image understands."""
    for name in ("flags.yaml", "configured.yaml"):
        service = Service(name)
        assert service.ports == ["4222:4222", "8222:8222"]
        assert service.healthcheck[0] == "wget"
    checked = subprocess.run([os.environ["WEIR_SERVER"], "-t", "-c", REPOSITORY / "packaging/compose/nats.conf"],
                             env={**os.environ, **PASSWORDS}, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
