// Credentials files, nkeys and what their tokens allow, as nats.js has them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { encodeAccount, encodeOperator, encodeUser, fmtCreds } from "@nats-io/jwt";
import { connect, credsAuthenticator, jwtAuthenticator, nkeyAuthenticator } from "@nats-io/transport-node";
import nkeys from "@nats-io/nkeys";

import { LIMIT, PATIENCE, take, withServer } from "./server.js";

const { createAccount, createOperator, createUser } = nkeys;

const UNLIMITED = { subs: -1, data: -1, payload: -1, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 };
const JETSTREAM = { disk_storage: -1, mem_storage: -1, streams: -1, consumer: -1 };

/** An operator with a system account and two others, as a server's configuration has them. */
async function trust({ revocations } = {}) {
  const operator = createOperator();
  const accounts = { system: createAccount(), orders: createAccount(), others: createAccount() };
  const operatorToken = await encodeOperator("O", operator, { system_account: accounts.system.getPublicKey() });
  const tokens = [];
  for (const [name, account] of Object.entries(accounts)) {
    const claim = name === "system" ? {} : { limits: { ...UNLIMITED, ...JETSTREAM }, revocations };
    tokens.push(`${account.getPublicKey()}: ${await encodeAccount(name, account, claim, { signer: operator })}`);
  }
  const configuration = `
    operator: ${operatorToken}
    system_account: ${accounts.system.getPublicKey()}
    resolver: MEMORY
    resolver_preload: { ${tokens.join("\n")} }
  `;
  return { accounts, configuration };
}

/** A credentials file of a new user of an account. */
async function credentials(account, claim = {}, options = {}) {
  const user = createUser();
  return { user, token: await encodeUser("U", user, account, claim, options), of() {
    return fmtCreds(this.token, this.user);
  } };
}

test("a credentials file opens its account, and no other", LIMIT, async () => {
  const { accounts, configuration } = await trust();
  const mine = await credentials(accounts.orders);
  const theirs = await credentials(accounts.others);
  await withServer(
    async (connectToIt, { closing }) => {
      const nc = await connectToIt();
      await (await jetstreamManager(nc, { timeout: PATIENCE })).streams.add({ name: "S", subjects: ["s.>"] });
      assert.equal((await jetstream(nc, { timeout: PATIENCE }).publish("s.a", "x")).seq, 1);
      const servers = `127.0.0.1:${nc.protocol.server.port}`;
      const other = await connect({ servers, reconnect: false, authenticator: credsAuthenticator(theirs.of()) });
      closing(other);
      await assert.rejects(async () => (await jetstreamManager(other, { timeout: PATIENCE })).streams.info("S"), /stream not found/);
      const heard = take(nc.subscribe("s.b"), 1);
      await nc.flush();
      other.publish("s.b", "theirs");
      await other.flush();
      nc.publish("s.b", "mine");
      assert.deepEqual((await heard).map((message) => message.string()), ["mine"]);
    },
    configuration,
    { authenticator: credsAuthenticator(mine.of()) },
  );
});

test("permissions of the token hold", LIMIT, async () => {
  const { accounts, configuration } = await trust();
  const user = await credentials(accounts.orders, { pub: { allow: ["may.>"] }, sub: { deny: ["secret.>"] } });
  await withServer(
    async (connectToIt) => {
      const nc = await connectToIt();
      const refused = take(nc.status(), 1);
      nc.publish("may.not.fail");
      nc.publish("else", "x");
      const [status] = await refused;
      assert.match(`${status.error}`, /Permissions Violation for Publish to "else"/);
      const subscription = nc.subscribe("secret.a");
      await assert.rejects(async () => {
        for await (const _ of subscription);
      }, /Permissions Violation for Subscription to "secret.a"/);
    },
    configuration,
    { authenticator: credsAuthenticator(user.of()) },
  );
});

test("who is revoked, expired, of no account or has another's key does not come in", LIMIT, async () => {
  const gone = createUser();
  const now = Math.floor(Date.now() / 1000);
  const { accounts, configuration } = await trust({ revocations: { [gone.getPublicKey()]: now + 60 } });
  const good = await credentials(accounts.orders);
  const expired = await credentials(accounts.orders, {}, { exp: now - 60 });
  const stranger = await credentials(createAccount());
  const strange = [
    jwtAuthenticator(await encodeUser("U", gone, accounts.orders), gone.getSeed()),
    credsAuthenticator(expired.of()),
    credsAuthenticator(stranger.of()),
    // The token is good, and somebody else signs.
    jwtAuthenticator(good.token, createUser().getSeed()),
    nkeyAuthenticator(good.user.getSeed()),
  ];
  await withServer(
    async (connectToIt) => {
      const nc = await connectToIt();
      const servers = `127.0.0.1:${nc.protocol.server.port}`;
      for (const authenticator of strange) {
        await assert.rejects(connect({ servers, reconnect: false, authenticator }), /Authorization Violation|Authentication/i);
      }
      await nc.flush();
    },
    configuration,
    { authenticator: credsAuthenticator(good.of()) },
  );
});

test("a bearer token needs no key", LIMIT, async () => {
  const { accounts, configuration } = await trust();
  const bearer = await credentials(accounts.orders, { bearer_token: true });
  await withServer(async (connectToIt) => (await connectToIt()).flush(), configuration, {
    authenticator: jwtAuthenticator(bearer.token),
  });
});

test("an nkey of the configuration", LIMIT, async () => {
  const [known, unknown] = [createUser(), createUser()];
  await withServer(
    async (connectToIt) => {
      const nc = await connectToIt();
      const servers = `127.0.0.1:${nc.protocol.server.port}`;
      const authenticator = nkeyAuthenticator(unknown.getSeed());
      await assert.rejects(connect({ servers, reconnect: false, authenticator }), /Authorization Violation/i);
      await nc.flush();
    },
    `authorization { users: [ { nkey: ${known.getPublicKey()} } ] }`,
    { authenticator: nkeyAuthenticator(known.getSeed()) },
  );
});
