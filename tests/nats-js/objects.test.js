// The object store, on each backend.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";

import { jetstream } from "@nats-io/jetstream";
import { Objm } from "@nats-io/obj";

import { BACKENDS, LIMIT, PATIENCE, withServer } from "./server.js";

const digestOf = (bytes) => createHash("sha256").update(bytes).digest("base64url");
const bare = (digest) => digest.replace(/=+$/, "");

for (const { name, storage, metadata } of BACKENDS) {
  test(`${name}: ten mebibytes come back with their digest`, LIMIT, () =>
    withServer(async (connect) => {
      const js = jetstream(await connect(), { timeout: PATIENCE });
      const store = await new Objm(js).create("attic", { storage, metadata });
      const { streamInfo } = await store.status();
      assert.equal(streamInfo.config.metadata["weir.backend"], name);

      const bytes = randomBytes(10 * 1024 * 1024);
      const put = await store.putBlob({ name: "film" }, bytes);
      assert.equal(put.size, bytes.length);
      const info = await store.info("film");
      assert.equal(bare(info.digest), `SHA-256=${digestOf(bytes)}`);
      const back = await store.getBlob("film");
      assert.equal(digestOf(back), digestOf(bytes));
    }));

  test(`${name}: a deleted object leaves only a note`, LIMIT, () =>
    withServer(async (connect) => {
      const js = jetstream(await connect(), { timeout: PATIENCE });
      const store = await new Objm(js).create("attic", { storage, metadata });
      await store.putBlob({ name: "notes" }, randomBytes(300_000));
      await store.delete("notes");
      assert.equal(await store.get("notes"), null);
      assert.equal((await store.info("notes")).deleted, true);
      const { streamInfo } = await store.status();
      assert.equal(streamInfo.state.messages, 1, "the chunks are still there");
    }));
}
