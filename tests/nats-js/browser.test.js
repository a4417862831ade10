// nats.js in Chromium, headless: where there is one (Debian's package `chromium`, or CHROMIUM names it).

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

import { LIMIT, withServer } from "./server.js";

const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const skip = existsSync(CHROMIUM) ? false : `there is no ${CHROMIUM}`;

// Nothing but the page is asked for.
const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

async function script() {
  const page = fileURLToPath(new URL("browser.page.js", import.meta.url));
  const built = await build({ entryPoints: [page], bundle: true, write: false, format: "iife", logLevel: "error" });
  return built.outputFiles[0].text;
}

/** Serves a page that runs a script; what the page says at its end is `done`. */
async function serve(text) {
  let tell;
  const done = new Promise((resolve) => (tell = resolve));
  const server = createServer((request, response) => {
    if (request.method === "POST") {
      let body = "";
      request.on("data", (chunk) => (body += chunk));
      request.on("end", () => tell(body));
      return response.end();
    }
    response.setHeader("Content-Type", "text/html; charset=utf-8");
    response.end(`<!doctype html><script>${text.replaceAll("</script", "<\\/script")}</script>`);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, origin: `http://127.0.0.1:${server.address().port}`, done };
}

/** What the page at `url` says at its end. */
async function visit(url, done) {
  const profile = await mkdtemp(join(tmpdir(), "weir-chromium-"));
  const child = spawn(CHROMIUM, [...FLAGS, `--user-data-dir=${profile}`, url], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => (said += chunk));
  const exit = once(child, "exit").then(() => said);
  try {
    return await Promise.race([done, exit]);
  } finally {
    child.kill("SIGKILL");
    await exit;
    await rm(profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

for (const compression of [false, true]) {
  const name = compression ? "with compression" : "without compression";
  test(`a page publishes, subscribes and reads streams ${name}`, { ...LIMIT, skip }, async () => {
    const { server, origin, done } = await serve(await script());
    const configuration = `websocket {
      host: "127.0.0.1", port: -1, no_tls: true, compression: ${compression}, allowed_origins: ["${origin}"]
    }`;
    try {
      await withServer(async (_, { websocket }) => {
        const said = await visit(`${origin}/?server=${encodeURIComponent(websocket)}`, done);
        assert.equal(said, "all of it");
      }, configuration);
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
}

test("a page of another origin does not come in", { ...LIMIT, skip }, async () => {
  const { server, origin, done } = await serve(await script());
  const configuration = 'websocket { host: "127.0.0.1", port: -1, no_tls: true, same_origin: true }';
  try {
    await withServer(async (_, { websocket }) => {
      const said = await visit(`${origin}/?server=${encodeURIComponent(websocket)}`, done);
      assert.match(said, /Error/);
    }, configuration);
  } finally {
    server.close();
    server.closeAllConnections();
  }
});
