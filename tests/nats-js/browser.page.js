// What runs in the browser: the page's URL says where the server is, its end is told to whoever serves the page.

import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { wsconnect } from "@nats-io/nats-core";

const MEBIBYTE = Uint8Array.from({ length: 1 << 20 }, (_, at) => (at * 2654435761) >>> 24);

/** How long an answer may take, in ms. */
const PATIENCE = 60_000;

function same(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

async function everything(server) {
  const nc = await wsconnect({ servers: server, reconnect: false, timeout: PATIENCE });
  nc.subscribe("echo", { callback: (_, m) => m.respond(m.data) });
  await nc.flush();
  for (const data of [new Uint8Array(), MEBIBYTE.slice(0, 100), MEBIBYTE.slice(0, 65536), MEBIBYTE]) {
    const reply = await nc.request("echo", data, { timeout: PATIENCE });
    if (!same(reply.data, data)) throw new Error(`${data.length} bytes came back as others`);
  }
  const jsm = await jetstreamManager(nc, { timeout: PATIENCE });
  await jsm.streams.add({ name: "BROWSER", subjects: ["b.>"] });
  await jsm.consumers.add("BROWSER", { durable_name: "c", ack_policy: "explicit" });
  const js = jetstream(nc, { timeout: PATIENCE });
  for (let at = 0; at < 100; at++) await js.publish(`b.${at}`, `${at}`);
  const consumer = await js.consumers.get("BROWSER", "c");
  let at = 0;
  for await (const m of await consumer.fetch({ max_messages: 100 })) {
    if (m.string() !== `${at++}`) throw new Error(`message ${at} is ${m.string()}`);
    await m.ackAck();
  }
  if (at !== 100) throw new Error(`${at} messages came`);
  await nc.close();
  return "all of it";
}

const server = new URL(location.href).searchParams.get("server");
everything(server)
  .catch((error) => `${error} ${error.stack}`)
  .then((body) => fetch("/done", { method: "POST", body }));
