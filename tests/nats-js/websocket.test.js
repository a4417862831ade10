// nats.js as browsers have it, by WebSocket.

import assert from "node:assert/strict";
import { test } from "node:test";

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { wsconnect } from "@nats-io/nats-core";
import { Objm } from "@nats-io/obj";
import WebSocket from "ws";

import { LIMIT, PATIENCE, take, withServer } from "./server.js";

// Node 20 has none of its own under the name that browsers give it.
globalThis.WebSocket = WebSocket;

const CONFIGURATION = 'websocket { host: "127.0.0.1", port: -1, no_tls: true, compression: true }';

const MEBIBYTE = Uint8Array.from({ length: 1 << 20 }, (_, at) => (at * 2654435761) >>> 24);

/** Runs `body(byWebSocket, bySocket)`, each of which connects. */
function withWebSocket(body) {
  return withServer(async (connect, { websocket, closing }) => {
    const byWebSocket = async (options = {}) => {
      const nc = await wsconnect({ servers: websocket, reconnect: false, timeout: PATIENCE, ...options });
      closing(nc);
      return nc;
    };
    await body(byWebSocket, connect);
  }, CONFIGURATION);
}

test("messages go from WebSockets to sockets and back", LIMIT, () =>
  withWebSocket(async (byWebSocket, bySocket) => {
    const [browser, service] = [await byWebSocket(), await bySocket()];
    service.subscribe("double", { callback: (_, m) => m.respond(`${m.string()}${m.string()}`) });
    await service.flush();
    assert.equal((await browser.request("double", "a", { timeout: PATIENCE })).string(), "aa");
    browser.subscribe("half", { callback: (_, m) => m.respond(m.string().slice(1)) });
    await browser.flush();
    assert.equal((await service.request("half", "ab", { timeout: PATIENCE })).string(), "b");
    assert.ok((await browser.rtt()) >= 0);
  }));

test("a message of 1 MiB comes back as it was", LIMIT, () =>
  withWebSocket(async (byWebSocket) => {
    const nc = await byWebSocket();
    const subscription = nc.subscribe("large");
    for (let i = 0; i < 4; i++) nc.publish("large", MEBIBYTE);
    for (const message of await take(subscription, 4)) {
      assert.ok(Buffer.from(message.data).equals(Buffer.from(MEBIBYTE)));
    }
  }));

test("JetStream, buckets and object stores are there", LIMIT, () =>
  withWebSocket(async (byWebSocket) => {
    const nc = await byWebSocket();
    const jsm = await jetstreamManager(nc, { timeout: PATIENCE });
    await jsm.streams.add({ name: "S", subjects: ["s.>"] });
    const js = jetstream(nc, { timeout: PATIENCE });
    for (let i = 0; i < 100; i++) assert.equal((await js.publish("s.a", `${i}`)).seq, i + 1);
    await jsm.consumers.add("S", { durable_name: "c", ack_policy: "explicit" });
    const consumer = await js.consumers.get("S", "c");
    const messages = await consumer.fetch({ max_messages: 100 });
    let at = 0;
    for await (const message of messages) {
      assert.equal(message.string(), `${at++}`);
      assert.ok(await message.ackAck());
    }
    assert.equal(at, 100);
    const bucket = await new Kvm(js).create("B");
    await bucket.put("k", "v");
    assert.equal((await bucket.get("k")).string(), "v");
    const objects = await new Objm(js).create("O");
    await objects.putBlob({ name: "o" }, MEBIBYTE);
    assert.ok(Buffer.from(await objects.getBlob("o")).equals(Buffer.from(MEBIBYTE)));
  }));

test("without compression it is the same", LIMIT, () =>
  withWebSocket(async (byWebSocket) => {
    const plain = (url) => {
      const socket = new WebSocket(url, { perMessageDeflate: false });
      return { socket, encrypted: false };
    };
    const nc = await byWebSocket({ wsFactory: async (url) => plain(url) });
    const subscription = nc.subscribe("large");
    nc.publish("large", MEBIBYTE);
    const [message] = await take(subscription, 1);
    assert.ok(Buffer.from(message.data).equals(Buffer.from(MEBIBYTE)));
  }));
