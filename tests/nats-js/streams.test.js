// Work queues and replay, on each backend.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AckPolicy, DeliverPolicy, jetstream, RetentionPolicy } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";

import { all, BACKENDS, LIMIT, PATIENCE, take, withServer } from "./server.js";

const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => from + at);

for (const { name, storage, metadata } of BACKENDS) {
  test(`${name}: a work queue redelivers what was refused and empties when all is acked`, LIMIT, () =>
    withServer(async (connect) => {
      const JOBS = 30;
      const js = jetstream(await connect(), { timeout: PATIENCE });
      const jsm = await js.jetstreamManager();
      const created = await jsm.streams.add({
        name: "WORK",
        subjects: ["work.>"],
        retention: RetentionPolicy.Workqueue,
        storage,
        metadata,
      });
      assert.equal(created.config.metadata["weir.backend"], name);
      for (const job of numbers(1, JOBS)) {
        const ack = await js.publish(`work.${job % 3}`, `${job}`);
        assert.equal(ack.seq, job);
      }
      await jsm.consumers.add("WORK", {
        durable_name: "worker",
        ack_policy: AckPolicy.Explicit,
        ack_wait: nanos(3_600_000),
      });
      const worker = await js.consumers.get("WORK", "worker");
      const pull = async (count) => all(await worker.fetch({ max_messages: count, expires: PATIENCE }));

      const refused = [];
      for (const message of await pull(JOBS)) {
        assert.equal(message.string(), `${message.seq}`);
        assert.equal(message.info.deliveryCount, 1);
        if (message.seq % 3 === 0) {
          refused.push(message.seq);
          message.nak();
        } else {
          assert.ok(await message.ackAck());
        }
      }
      assert.equal(refused.length, JOBS / 3);
      const again = await pull(refused.length);
      assert.deepEqual(again.map((m) => m.seq).sort((a, b) => a - b), refused);
      for (const message of again) {
        assert.equal(message.info.deliveryCount, 2);
        assert.ok(message.redelivered);
      }
      let { state } = await jsm.streams.info("WORK");
      assert.equal(state.messages, refused.length, "acked work stays in the stream");
      assert.equal(state.first_seq, refused[0]);
      const info = await jsm.consumers.info("WORK", "worker");
      assert.deepEqual(
        [info.num_ack_pending, info.num_redelivered, info.num_pending],
        [refused.length, refused.length, 0],
      );

      for (const message of again) assert.ok(await message.ackAck());
      ({ state } = await jsm.streams.info("WORK"));
      assert.deepEqual([state.messages, state.last_seq], [0, JOBS]);
    }));

  test(`${name}: a stream replays from the start, a sequence and a time`, LIMIT, () =>
    withServer(async (connect) => {
      const js = jetstream(await connect(), { timeout: PATIENCE });
      const jsm = await js.jetstreamManager();
      await jsm.streams.add({ name: "TAPE", subjects: ["tape.*"], storage, metadata });
      for (const n of numbers(1, 100)) await js.publish(`tape.${n % 5}`, `${n}`);

      const replay = async (options, count) => {
        const consumer = await js.consumers.get("TAPE", options);
        const messages = await take(await consumer.consume(), count);
        assert.equal(messages.at(-1).info.pending, 0, "more follows than should");
        return messages.map((m) => Number(m.string()));
      };
      assert.deepEqual(await replay({}, 100), numbers(1, 100));
      assert.deepEqual(
        await replay({ deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: 41 }, 60),
        numbers(41, 100),
      );
      // To the nanosecond, as the server gives it; a Date would round it.
      const opt_start_time = (await jsm.streams.getMessage("TAPE", { seq: 61 })).timestamp;
      assert.deepEqual(
        await replay({ deliver_policy: DeliverPolicy.StartTime, opt_start_time }, 40),
        numbers(61, 100),
      );
    }));
}
