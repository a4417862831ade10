// The server under test, one for each test: WEIR_SERVER names the program,
// or it is the workspace's release build.

import { spawn } from "node:child_process";
import { webcrypto } from "node:crypto";
import { once } from "node:events";
import { existsSync, openSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { connect } from "@nats-io/transport-node";

// Node 18, Debian 12's own, has Web Crypto but not under its global name.
globalThis.crypto ??= webcrypto;

const START_LIMIT = 120_000;
const BODY_LIMIT = 180_000;
const POLL = 5;

function program() {
  if (process.env.WEIR_SERVER) return process.env.WEIR_SERVER;
  const target = process.env.CARGO_TARGET_DIR ??
    fileURLToPath(new URL("../../target", import.meta.url));
  return join(target, "release", "weir-server");
}

async function addresses(directory) {
  for (const name of await readdir(directory)) {
    if (!name.endsWith(".ports")) continue;
    try {
      return JSON.parse(await readFile(join(directory, name), "utf8"));
    } catch (error) {
      // Not fully written yet.
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return null;
}

async function waitUntilReady(child, directory, options) {
  const deadline = Date.now() + START_LIMIT;
  while (Date.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the server exited: ${child.exitCode ?? child.signalCode}`);
    }
    const urls = await addresses(directory);
    if (urls) {
      try {
        const nc = await connect({ servers: urls.nats[0], reconnect: false, timeout: PATIENCE, ...options });
        await nc.close();
        return urls;
      } catch {
        // Not listening yet.
      }
    }
    await pause(POLL);
  }
  throw new Error(`no connection possible after ${START_LIMIT} ms`);
}

async function tooLong(limit, signal) {
  await pause(limit, undefined, { signal }).catch(() => {});
  if (!signal.aborted) throw new Error(`the test took longer than ${limit} ms`);
}

/**
 * Runs `body(connectToIt, more)` against a fresh server, which may have a
 * configuration, and options for those who connect; every connection that it opens is closed afterwards, and what
 * it gives to `more.closing`. `more.websocket` is the URL for WebSockets. A
 * failure prints the server's log.
 */
export async function withServer(body, configuration, options = {}) {
  const server = program();
  if (!existsSync(server)) {
    throw new Error(
      `there is no server at ${server}: build it with ` +
        "`cargo build --release -p weir-broker`, or name one with WEIR_SERVER",
    );
  }
  const directory = await mkdtemp(join(tmpdir(), "weir-js-"));
  const logFile = join(directory, "server.log");
  const log = openSync(logFile, "w");
  const args = ["-a", "127.0.0.1", "-p", "-1", "-js", "-sd", join(directory, "store")];
  if (configuration) {
    const file = join(directory, "server.conf");
    await writeFile(file, configuration);
    args.push("-c", file);
  }
  const child = spawn(server, [...args, "--ports_file_dir", directory], {
    stdio: ["ignore", log, log],
  });
  const connections = [];
  const ended = new AbortController();
  try {
    const { nats: [url], websocket } = await waitUntilReady(child, directory, options);
    const closing = (nc) => connections.push(nc);
    const connectToIt = async () => {
      const nc = await connect({ servers: url, reconnect: false, timeout: PATIENCE, ...options });
      closing(nc);
      return nc;
    };
    const done = body(connectToIt, { websocket: websocket?.[0], closing });
    // Without this, a test that waits for ever would keep the process running.
    await Promise.race([done, tooLong(BODY_LIMIT, ended.signal)]);
  } catch (error) {
    console.error(`--- log of the server ---\n${await readFile(logFile, "utf8")}--- end of log ---`);
    throw error;
  } finally {
    ended.abort();
    if (child.exitCode === null && child.signalCode === null) {
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    }
    await Promise.allSettled(connections.map((nc) => nc.close()));
    await rm(directory, { recursive: true, force: true });
  }
}

/** What to put into a stream, bucket or object store to get each backend. */
export const BACKENDS = [
  { name: "segment", storage: "file", metadata: { "weir.backend": "segment" } },
  { name: "rocksdb", storage: "file", metadata: { "weir.backend": "rocksdb" } },
  { name: "memory", storage: "memory", metadata: { "weir.backend": "memory" } },
];

/** The last resort, should a server neither start nor fail. */
export const LIMIT = { timeout: 360_000 };

/** How long an answer may take, in ms: far longer than any does, on a machine that has other things to do as well. */
export const PATIENCE = 60_000;

/** The first `count` things that `iterator` yields, then it is stopped. */
export async function take(iterator, count) {
  const taken = [];
  if (count === 0) return taken;
  for await (const item of iterator) {
    taken.push(item);
    if (taken.length === count) break;
  }
  return taken;
}

/** All that `iterator` yields. */
export async function all(iterator) {
  const taken = [];
  for await (const item of iterator) taken.push(item);
  return taken;
}
