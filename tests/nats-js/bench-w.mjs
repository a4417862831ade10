import { wsconnect } from "@nats-io/nats-core";
import WebSocket from "ws";
globalThis.WebSocket = WebSocket;
const [, , url, comp] = process.argv;
const plain = async (u) => ({ socket: new WebSocket(u, { perMessageDeflate: comp === "c" }), encrypted: false });
const a = await wsconnect({ servers: url, wsFactory: plain }), b = await wsconnect({ servers: url, wsFactory: plain });
const N = 100000, data = new Uint8Array(128);
let got = 0, tell; const all = new Promise((r) => (tell = r));
b.subscribe("x", { callback: () => { if (++got === N) tell(); } }); await b.flush();
let t = performance.now();
for (let i = 0; i < N; i++) { a.publish("x", data); if (i % 1000 === 0) await a.flush(); }
await all; const ps = N / (performance.now() - t) * 1000;
b.subscribe("r", { callback: (_, m) => m.respond(m.data) }); await b.flush();
t = performance.now(); const R = 3000;
for (let i = 0; i < R; i++) await a.request("r", data);
const rr = R / (performance.now() - t) * 1000;
console.log(`pubsub ${ps.toFixed(0)}/s request ${rr.toFixed(0)}/s`);
await a.close(); await b.close();
