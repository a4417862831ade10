// Publish and subscribe, request and reply, queue groups.

import assert from "node:assert/strict";
import { test } from "node:test";

import { headers, NoRespondersError, RequestError } from "@nats-io/transport-node";

import { LIMIT, PATIENCE, take, withServer } from "./server.js";

test("wildcards choose which messages arrive", LIMIT, () =>
  withServer(async (connect) => {
    const nc = await connect();
    const oneToken = nc.subscribe("shop.*.paid");
    const theRest = nc.subscribe("shop.>");
    const exact = nc.subscribe("shop.7.paid");
    await nc.flush();

    const publisher = await connect();
    const subjects = [
      "shop.7.paid",
      "shop.8.paid",
      "shop.7.sent",
      "shop.7.8.paid",
      "shop",
      "shops.7.paid",
      "shop.end.paid",
      "shop.7.paid",
    ];
    subjects.forEach((subject, at) => publisher.publish(subject, `${at}`));
    await publisher.flush();

    const payloads = async (subscription, count) =>
      (await take(subscription, count)).map((m) => m.string());
    assert.deepEqual(await payloads(oneToken, 4), ["0", "1", "6", "7"]);
    assert.deepEqual(await payloads(theRest, 6), ["0", "1", "2", "3", "6", "7"]);
    assert.deepEqual(await payloads(exact, 2), ["0", "7"]);
  }));

test("headers and empty payloads arrive as they were sent", LIMIT, () =>
  withServer(async (connect) => {
    const nc = await connect();
    const subscription = nc.subscribe("parcel");
    const h = headers();
    h.append("Colour", "blue");
    h.append("Colour", "green");
    nc.publish("parcel", new Uint8Array(0), { headers: h });
    const [message] = await take(subscription, 1);
    assert.deepEqual(message.headers.values("Colour"), ["blue", "green"]);
    assert.equal(message.data.length, 0);
  }));

test("a request gets its own reply", LIMIT, () =>
  withServer(async (connect) => {
    const service = await connect();
    service.subscribe("double.*", {
      callback: (_error, request) => request.respond(`${2 * Number(request.string())}`),
    });
    await service.flush();

    const nc = await connect();
    const numbers = Array.from({ length: 50 }, (_, n) => n);
    const answers = await Promise.all(
      numbers.map((n) => nc.request("double.it", `${n}`, { timeout: PATIENCE })),
    );
    assert.deepEqual(answers.map((a) => Number(a.string())), numbers.map((n) => 2 * n));
  }));

test("a request nobody serves fails at once", LIMIT, () =>
  withServer(async (connect) => {
    const nc = await connect();
    await assert.rejects(nc.request("nobody.home", "", { timeout: PATIENCE }), (error) => {
      const cause = error instanceof RequestError ? error.cause : error;
      assert.ok(cause instanceof NoRespondersError, `${error}`);
      return true;
    });
  }));

test("a queue group shares the work and loses none", LIMIT, () =>
  withServer(async (connect) => {
    const JOBS = 300;
    const taken = [];
    let allTaken;
    const finished = new Promise((resolve) => allTaken = resolve);
    const members = [];
    for (let member = 0; member < 3; member++) {
      const nc = await connect();
      nc.subscribe("jobs.>", {
        queue: "workers",
        callback: (_error, job) => {
          taken.push({ member, job: Number(job.string()) });
          if (taken.length === JOBS) allTaken();
        },
      });
      await nc.flush();
      members.push(nc);
    }
    const publisher = await connect();
    for (let job = 0; job < JOBS; job++) publisher.publish(`jobs.${job}`, `${job}`);
    await publisher.flush();
    await finished;
    // What was sent to any member before its PONG has been counted after this.
    await Promise.all(members.map((nc) => nc.flush()));

    const jobs = taken.map((t) => t.job).sort((a, b) => a - b);
    assert.deepEqual(jobs, Array.from({ length: JOBS }, (_, n) => n));
    assert.deepEqual(new Set(taken.map((t) => t.member)), new Set([0, 1, 2]));
  }));
