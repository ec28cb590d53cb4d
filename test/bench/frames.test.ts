import { parser } from "mqtt-packet";
import type { IPublishPacket } from "mqtt-packet";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { createTemplate, FramePatcher, topicOf } from "./publisher/frames.ts";
import type { FrameShape } from "./publisher/frames.ts";

const test = suite("the publisher's frames");

interface Reading {
  readonly ts: number;
  readonly value: number;
}

/** Takes `counts` frames one after the other and reads them back; a copy each time, as they are overwritten. */
function published(shape: FrameShape, framesMin: number, counts: readonly number[], nowMs: number, stepMs = 0) {
  const template = createTemplate(shape, framesMin);
  const patcher = new FramePatcher(template, 3);
  const packets: IPublishPacket[] = [];
  const stream = parser();
  stream.on("packet", (packet) => packets.push(packet as IPublishPacket));
  for (const count of counts) stream.parse(Buffer.from(patcher.take(Math.min(count, patcher.room), nowMs, stepMs)));
  return { packets, readings: packets.map((packet) => readingsOf(packet.payload.toString())) };
}

function readingsOf(payload: string): Reading[] {
  const message = JSON.parse(payload) as Reading | Reading[];
  return Array.isArray(message) ? message : [message];
}

const NOW = Date.parse("2026-03-04T05:06:07.999Z");

for (const readingsPerMessage of [1, 100]) {
  for (const qos of [0, 1] as const) {
    test(`parse back at QoS ${qos} with ${readingsPerMessage} readings: each series in turn, no reading twice`, () => {
      const shape = { qos, readingsPerMessage, seriesFrom: 95, seriesCount: 12 };
      const { packets, readings } = published(shape, 30, [5, 30, 7, 36, 36, 1], NOW);
      assert.ok(packets.length > 90);
      const newest = new Map<string, number>();
      packets.forEach((packet, index) => {
        assert.is(packet.topic, topicOf(95 + (index % 12)));
        assert.is(packet.qos, qos);
        if (qos === 1) assert.is(packet.messageId, index + 1);
        assert.is(readings[index]!.length, readingsPerMessage);
        for (const { ts, value } of readings[index]!) {
          assert.ok(ts >= NOW && ts > (newest.get(packet.topic) ?? 0), `${packet.topic}: ${ts} is not newer`);
          newest.set(packet.topic, ts);
          assert.ok(Number.isFinite(value) && value >= 10 && value < 100);
        }
        // Written as JSON.stringify would: numbers of the shortest text.
        assert.is(packet.payload.toString(), JSON.stringify(JSON.parse(packet.payload.toString())));
      });
    });
  }
}

test("have values that vary, in three decimals", () => {
  const { readings } = published({ qos: 0, readingsPerMessage: 1, seriesFrom: 0, seriesCount: 1 }, 1000, [1000], NOW);
  const values = new Set(readings.map(([reading]) => reading!.value));
  assert.ok(values.size > 500, `only ${values.size} values`);
  for (const value of values) assert.is(Math.round(value * 1000) / 1000, value);
});

test("count packet ids from 1 to 65,535 and again from 1", () => {
  const shape = { qos: 1 as const, readingsPerMessage: 1, seriesFrom: 0, seriesCount: 10 };
  const { packets } = published(shape, 66_000, [66_000], NOW);
  assert.is(packets[65_534]!.messageId, 65_535);
  assert.is(packets[65_535]!.messageId, 1);
});

test("step by the step that is asked for", () => {
  const shape = { qos: 0 as const, readingsPerMessage: 1, seriesFrom: 0, seriesCount: 2 };
  const { readings } = published(shape, 6, [6, 6], NOW, 1000);
  assert.equal(
    readings.map(([reading]) => reading!.ts - NOW),
    [0, 0, 1000, 1000, 2000, 2000, 3000, 3000, 4000, 4000, 5000, 5000],
  );
});
