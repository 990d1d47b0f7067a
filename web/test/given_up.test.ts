// Input that is given up, and ends that nobody saw, message by message.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Kind } from "../src/client/frame.ts";
import { live, Scene, STREAMS } from "./scene.ts";

test("a stream that was forgotten is given up for another one, once", () => {
  const scene = live().types("lost");
  for (let failure = 0; failure < 3; failure++) scene.closes(4502).passes(30_000).connects();
  scene.closes(4400, "stream_forgotten");
  assert.equal(scene.statuses.at(-1)?.state, "connecting");
  const lost = scene.actions.find((action) => action.do === "input_lost");
  assert.deepEqual(lost, { do: "input_lost", bytes: 4, why: "forgotten" });
  scene.connects();
  const attach = scene.said.findLast((one) => one.type === "attach");
  assert.deepEqual([attach?.input_stream, attach?.launch, attach?.output], [STREAMS[1], 1, 0]);
  scene.closes(4400, "stream_forgotten");
  assert.ok(scene.status?.state === "stopped");
});

test("an end that nobody saw is wherever the gateway says", () => {
  for (const at of [0, 5, 30]) {
    const scene = live().gets(Kind.Data, 0, "0123456789").draws().closes(4502).connects();
    scene.attaches({ role: "observer", output: { from: 0, resume: "ended" } });
    scene.hears({ type: "exit", at, reason: "lost" }).draws();
    scene.closes(4410, "session_ended");
    assert.ok(scene.status?.state === "stopped");
    assert.equal(scene.status.exit?.reason, "lost", `${at}`);
  }
});

test("what is wrong with an ended session is not come back to", () => {
  const scene = live().closes(4502).connects();
  scene.attaches({ role: "observer", output: { from: 0, resume: "ended" } });
  scene.gets(Kind.Data, 9, "x");
  assert.ok(scene.status?.state === "stopped");
  assert.equal(scene.status.stopped.why, "ended");
});

test("gateways that leave one after the other are come back to later each time", () => {
  const scene = new Scene("driver", 0.999999);
  scene.on({ on: "start" });
  const pauses: number[] = [];
  for (let leaves = 0; leaves < 5; leaves++) {
    scene.connects().closes(1012);
    const { status } = scene;
    assert.ok(status?.state === "waiting");
    pauses.push(status.until - scene.now);
    scene.passes(status.until - scene.now);
  }
  assert.deepEqual(
    pauses.map((pause) => Math.round(pause)),
    [500, 500, 1000, 2000, 4000],
  );
});

test("no refusal keeps anybody away for more than ten minutes", () => {
  const scene = new Scene();
  scene.on({ on: "start" });
  const failure = { status: 503, retryAfter: 10_000_000 };
  scene.on({ on: "no_ticket", socket: scene.socket, failure });
  assert.ok(scene.status?.state === "waiting");
  assert.equal(scene.status.until - scene.now, 600_000);
});

test("what comes twice is acknowledged as far as it was drawn", () => {
  const scene = live().gets(Kind.Data, 0, "0123456789").draws();
  // All in a window that the same bytes fill a second time.
  scene
    .closes(1006)
    .connects()
    .attaches({ output: { from: 0, resume: "exact" } });
  scene.gets(Kind.Replay, 0, "0123456789").passes(1000);
  assert.deepEqual(scene.frames.at(-1), "ack 10");
});

test("a signal is told to have been sent when its answer has come", () => {
  const scene = live();
  scene.on({ on: "signal", name: "TERM" });
  const asked = scene.said.findLast((one) => one.type === "signal");
  scene.closes(1006).connects().attaches();
  assert.equal(scene.said.filter((one) => one.type === "signal").length, 2);
  for (let twice = 0; twice < 2; twice++) {
    scene.hears({ type: "notice", kind: "signalled", id: asked?.id });
  }
  const told = scene.actions.filter((action) => action.do === "signalled");
  assert.deepEqual(told, [{ do: "signalled", name: "TERM" }]);
});
