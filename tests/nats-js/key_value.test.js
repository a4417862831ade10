// Key-value buckets, on each backend.

import assert from "node:assert/strict";
import { test } from "node:test";

import { jetstream } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";

import { all, BACKENDS, LIMIT, PATIENCE, withServer } from "./server.js";

const brief = (entry) => [entry.key, entry.operation, entry.string(), entry.revision];

for (const { name, storage, metadata } of BACKENDS) {
  const withBucket = (body) => () =>
    withServer(async (connect) => {
      const js = jetstream(await connect(), { timeout: PATIENCE });
      const bucket = await new Kvm(js).create("box", { history: 5, storage, metadata });
      const status = await bucket.status();
      assert.equal(status.streamInfo.config.metadata["weir.backend"], name);
      await body(bucket);
    });

  const check = (behaviour, body) => test(`${name}: ${behaviour}`, LIMIT, withBucket(body));

  check("put then get gives the latest value", async (bucket) => {
    assert.equal(await bucket.put("city.bern", "1"), 1);
    assert.equal(await bucket.put("city.basel", "2"), 2);
    assert.equal(await bucket.put("city.bern", "3"), 3);
    assert.deepEqual(brief(await bucket.get("city.bern")), ["city.bern", "PUT", "3", 3]);
    const older = await bucket.get("city.bern", { revision: 1 });
    assert.deepEqual(brief(older), ["city.bern", "PUT", "1", 1]);
    assert.equal(await bucket.get("city.chur"), null);
  });

  check("history keeps as many values as the bucket allows", async (bucket) => {
    for (let value = 1; value <= 7; value++) {
      await bucket.put("key", `${value}`);
      await bucket.put("other", "x");
    }
    const history = await all(await bucket.history({ key: "key" }));
    assert.deepEqual(history.map((e) => e.string()), ["3", "4", "5", "6", "7"]);
  });

  check("a watcher sees what is there and then each change", async (bucket) => {
    await bucket.put("light.hall", "off");
    await bucket.put("light.hall", "on");
    await bucket.put("door", "shut");
    const watch = await bucket.watch({ key: "light.*" });
    const seen = [];
    for await (const entry of watch) {
      seen.push(brief(entry));
      if (seen.length === 1) {
        await bucket.put("door", "open");
        await bucket.put("light.stairs", "on");
        await bucket.delete("light.hall");
      }
      if (seen.length === 3) break;
    }
    assert.deepEqual(seen, [
      ["light.hall", "PUT", "on", 2],
      ["light.stairs", "PUT", "on", 5],
      ["light.hall", "DEL", "", 6],
    ]);
  });

  check("a deleted key is gone but its history tells", async (bucket) => {
    await bucket.put("key", "value");
    await bucket.delete("key");
    assert.equal((await bucket.get("key")).operation, "DEL");
    const history = await all(await bucket.history({ key: "key" }));
    assert.deepEqual(history.map(brief), [["key", "PUT", "value", 1], ["key", "DEL", "", 2]]);
  });

  check("a purged key loses its history", async (bucket) => {
    for (const value of ["a", "b", "c"]) await bucket.put("key", value);
    await bucket.put("kept", "here");
    await bucket.purge("key");
    const history = await all(await bucket.history({ key: "key" }));
    assert.deepEqual(history.map(brief), [["key", "PURGE", "", 5]]);
    assert.equal((await bucket.get("kept")).string(), "here");
  });

  check("create succeeds only where there is no value", async (bucket) => {
    assert.equal(await bucket.create("key", "first"), 1);
    await assert.rejects(bucket.create("key", "second"), { code: 10071 });
    assert.equal((await bucket.get("key")).string(), "first");
    await bucket.delete("key");
    assert.equal(await bucket.create("key", "third"), 3);
  });

  check("update succeeds only at the expected revision", async (bucket) => {
    const first = await bucket.put("key", "1");
    await bucket.put("other", "x");
    assert.equal(await bucket.update("key", "2", first), 3);
    await assert.rejects(bucket.update("key", "3", first), { code: 10071 });
    assert.equal((await bucket.get("key")).string(), "2");
  });

  check("keys are those that have a value", async (bucket) => {
    assert.deepEqual(await all(await bucket.keys()), []);
    for (const key of ["a", "b.c", "b.d", "e", "a"]) await bucket.put(key, "x");
    await bucket.delete("e");
    assert.deepEqual((await all(await bucket.keys())).sort(), ["a", "b.c", "b.d"]);
    assert.deepEqual((await all(await bucket.keys("b.*"))).sort(), ["b.c", "b.d"]);
  });
}
