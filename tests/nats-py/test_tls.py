"""nats-py by TLS."""

import asyncio
import ssl
import subprocess

import nats
import pytest
from conftest import PATIENCE

MEBIBYTE = bytes(range(256)) * 4096


def issue(folder, name, extensions):
    """Has a certificate signed, by OpenSSL."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    if name == "ca":
        openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "30")
        return
    openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    (folder / f"{name}.ext").write_text(extensions)
    authority = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "30"]
    openssl("x509", "-req", "-in", f"{name}.csr", *authority, "-extfile", f"{name}.ext", "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with an authority, a server's certificate and a client's."""
    folder = tmp_path_factory.mktemp("certificates")
    issue(folder, "ca", "")
    issue(folder, "server", "subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    issue(folder, "client", "extendedKeyUsage=clientAuth\n")
    return folder


@pytest.fixture
def start(certificates, configured):
    """Starts a server with this in its `tls` block, and returns its URL."""

    async def start_with(tls, more=""):
        pair = f'cert_file: "{certificates}/server.pem", key_file: "{certificates}/server.key"'
        return await configured(f"tls {{ {pair}, {tls} }}\n{more}\n")

    return start_with


async def talk(url, certificates, shows=False, **more):
    """Connects, and sends what is large and what is stored."""
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    if shows:
        context.load_cert_chain(certificates / "client.pem", certificates / "client.key")
    nc = await nats.connect(url, tls=context, allow_reconnect=False, connect_timeout=PATIENCE, **more)
    try:
        subscription = await nc.subscribe("large")
        for _ in range(8):
            await nc.publish("large", MEBIBYTE)
        for _ in range(8):
            assert (await subscription.next_msg(10)).data == MEBIBYTE
        js = nc.jetstream(timeout=PATIENCE)
        await js.add_stream(name="S", subjects=["s.>"])
        for at in range(100):
            assert (await js.publish("s.a", b"x")).seq == at + 1
    finally:
        await nc.close()


async def test_behind_info(start, certificates):
    url = await start("")
    assert url.startswith("tls://")
    await talk(url, certificates)


async def test_before_info(start, certificates):
    await talk(await start("handshake_first: true"), certificates, tls_handshake_first=True)


async def test_a_certificate_names_the_user(start, certificates):
    ca = f'ca_file: "{certificates}/ca.pem", verify_and_map: true'
    url = await start(ca, 'authorization { users: [ { user: "CN=client" } ] }')
    await talk(url, certificates, shows=True)


async def test_nobody_comes_in_without_a_certificate(start, certificates):
    url = await start(f'ca_file: "{certificates}/ca.pem", verify: true')
    with pytest.raises((OSError, nats.errors.Error, asyncio.TimeoutError)):
        await talk(url, certificates)
