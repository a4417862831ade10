"""nats-py with credentials files and nkeys."""

import asyncio
import base64
import json
import os
import time

import nats
import nkeys
import pytest
from conftest import PATIENCE

UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
OF_ACCOUNT = {"imports": -1, "exports": -1, "wildcards": True, "conn": -1, "leaf": -1, "disk_storage": -1, "mem_storage": -1}


class Key:
    """A pair of keys of one kind."""

    def __init__(self, kind):
        self.seed = bytes(nkeys.encode_seed(os.urandom(32), kind))
        self.pair = nkeys.from_seed(bytearray(self.seed))
        self.public = self.pair.public_key.decode()


def encode(part: bytes) -> str:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def sign(signer: Key, subject: Key, claim: dict, **more) -> str:
    """A token of version 2."""
    times = {"iat": int(time.time()), **more}
    claims = {"jti": os.urandom(16).hex(), "iss": signer.public, "sub": subject.public, "name": "N", **times, "nats": claim}
    header = json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}, separators=(",", ":")).encode()
    signed = f"{encode(header)}.{encode(json.dumps(claims, separators=(',', ':')).encode())}"
    return f"{signed}.{encode(signer.pair.sign(signed.encode()))}"


def user_token(account: Key, user: Key, claim=None, **more) -> str:
    """A user of an account."""
    return sign(account, user, {"type": "user", "version": 2, **UNLIMITED, **(claim or {})}, **more)


def write_credentials(path, token: str, user: Key) -> str:
    """The file that clients are given."""
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    return str(path)


def trust() -> tuple[Key, Key, str]:
    """Two accounts, and a configuration with their operator."""
    operator = Key(nkeys.PREFIX_BYTE_OPERATOR)
    accounts = [Key(nkeys.PREFIX_BYTE_ACCOUNT) for _ in range(3)]
    system = accounts[2]
    claim = {"type": "operator", "version": 2, "system_account": system.public}
    lines = [f"operator: {sign(operator, operator, claim)}", f"system_account: {system.public}", "resolver: MEMORY"]
    lines.append("resolver_preload: {")
    for account in accounts:
        limits = {**UNLIMITED, **OF_ACCOUNT}
        if account is system:
            # It has no JetStream.
            limits = {name: limit for name, limit in limits.items() if not name.endswith("storage")}
        token = sign(operator, account, {"type": "account", "version": 2, "limits": limits})
        lines.append(f"  {account.public}: {token}")
    lines.append("}")
    return accounts[0], accounts[1], "\n".join(lines)


async def connect(url, **more) -> nats.NATS:
    """A connection that fails at once."""

    async def ignore(_error):
        """Failures reach the test as exceptions of the calls themselves."""

    more.setdefault("error_cb", ignore)
    return await nats.connect(url, allow_reconnect=False, connect_timeout=PATIENCE, **more)


async def test_a_credentials_file_opens_its_account(configured, tmp_path):
    mine, theirs, configuration = trust()
    url = await configured(configuration)
    files = []
    for number, account in enumerate([mine, theirs]):
        user = Key(nkeys.PREFIX_BYTE_USER)
        files.append(write_credentials(tmp_path / f"{number}.creds", user_token(account, user), user))
    nc = await connect(url, user_credentials=files[0])
    other = await connect(url, user_credentials=files[1])
    js = nc.jetstream(timeout=PATIENCE)
    await js.add_stream(name="S", subjects=["s.>"])
    assert (await js.publish("s.a", b"x")).seq == 1
    with pytest.raises(nats.js.errors.NotFoundError):
        await other.jetstream(timeout=PATIENCE).stream_info("S")
    await nc.close()
    await other.close()


async def test_permissions_of_the_token_hold(configured, tmp_path):
    account, _, configuration = trust()
    url = await configured(configuration)
    user = Key(nkeys.PREFIX_BYTE_USER)
    token = user_token(account, user, {"pub": {"allow": ["may.>"]}})
    told = asyncio.get_running_loop().create_future()

    async def tell(error):
        if not told.done():
            told.set_result(str(error))

    nc = await connect(url, user_credentials=write_credentials(tmp_path / "u.creds", token, user), error_cb=tell)
    await nc.publish("may.a", b"x")
    await nc.publish("else", b"x")
    assert 'permissions violation for publish to "else"' in (await asyncio.wait_for(told, PATIENCE)).lower()
    await nc.close()


async def test_strangers_stay_out(configured, tmp_path):
    account, _, configuration = trust()
    url = await configured(configuration)
    user, another = Key(nkeys.PREFIX_BYTE_USER), Key(nkeys.PREFIX_BYTE_USER)
    good = user_token(account, user)
    strange = {
        "expired": (user_token(account, user, exp=int(time.time()) - 60), user),
        "of no account": (user_token(Key(nkeys.PREFIX_BYTE_ACCOUNT), user), user),
        "signed by another": (good, another),
        "changed": (good[:-2] + ("AA" if good[-2:] != "AA" else "BB"), user),
    }
    for name, (token, signer) in strange.items():
        file = write_credentials(tmp_path / "strange.creds", token, signer)
        with pytest.raises((nats.errors.Error, OSError)):
            await connect(url, user_credentials=file)
            pytest.fail(f"{name}: came in")
    nc = await connect(url, user_credentials=write_credentials(tmp_path / "good.creds", good, user))
    await nc.flush()
    await nc.close()


async def test_an_nkey_of_the_configuration(configured, tmp_path):
    known, unknown = Key(nkeys.PREFIX_BYTE_USER), Key(nkeys.PREFIX_BYTE_USER)
    url = await configured(f"authorization {{ users: [ {{ nkey: {known.public} }} ] }}")
    seed = tmp_path / "seed"
    seed.write_bytes(unknown.seed)
    with pytest.raises((nats.errors.Error, OSError)):
        await connect(url, nkeys_seed=str(seed))
    seed.write_bytes(known.seed)
    nc = await connect(url, nkeys_seed=str(seed))
    await nc.flush()
    await nc.close()
