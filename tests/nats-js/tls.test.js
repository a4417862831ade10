// nats.js by TLS, and by WebSocket with TLS.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { wsconnect } from "@nats-io/nats-core";
import WebSocket from "ws";

import { certificates } from "./certificates.js";
import { LIMIT, PATIENCE, take, withServer } from "./server.js";

const directory = mkdtempSync(join(tmpdir(), "weir-js-tls-"));
after(() => rmSync(directory, { recursive: true, force: true }));
const { at, server } = certificates(directory);

const MEBIBYTE = Uint8Array.from({ length: 1 << 20 }, (_, at) => (at * 2654435761) >>> 24);
const AUTHORITY = { caFile: at("ca.pem") };
const CERTIFICATE = { ...AUTHORITY, certFile: at("client.pem"), keyFile: at("client.key") };

async function talk(nc) {
  const subscription = nc.subscribe("large");
  for (let i = 0; i < 8; i++) nc.publish("large", MEBIBYTE);
  for (const message of await take(subscription, 8)) {
    assert.ok(Buffer.from(message.data).equals(Buffer.from(MEBIBYTE)));
  }
  await (await jetstreamManager(nc, { timeout: PATIENCE })).streams.add({ name: "S", subjects: ["s.>"] });
  const js = jetstream(nc, { timeout: PATIENCE });
  for (let i = 0; i < 100; i++) assert.equal((await js.publish("s.a", `${i}`)).seq, i + 1);
}

test("behind INFO", LIMIT, () =>
  withServer(async (connect) => talk(await connect()), `tls { ${server} }`, { tls: AUTHORITY }));

test("before INFO", LIMIT, () =>
  withServer(async (connect) => talk(await connect()), `tls { ${server}, handshake_first: true }`, {
    tls: { ...AUTHORITY, handshakeFirst: true },
  }));

test("with a certificate that names the user", LIMIT, () =>
  withServer(
    async (connect) => {
      const nc = await connect();
      assert.equal(nc.info.tls_verify, true);
      await talk(nc);
    },
    `tls { ${server}, ca_file: "${at("ca.pem")}", verify_and_map: true }
     authorization { users: [ { user: "CN=client" } ] }`,
    { tls: CERTIFICATE },
  ));

test("by WebSocket", LIMIT, () => {
  // A browser knows its authorities by itself.
  globalThis.WebSocket = class extends WebSocket {
    constructor(url) {
      super(url, { rejectUnauthorized: false });
    }
  };
  return withServer(
    async (_, { websocket, closing }) => {
      assert.match(websocket, /^wss:/);
      const nc = await wsconnect({ servers: websocket, reconnect: false });
      closing(nc);
      assert.equal(nc.info.tls_required, true);
      await talk(nc);
    },
    `websocket { host: "127.0.0.1", port: -1, compression: true, tls { ${server} } }`,
  );
});
