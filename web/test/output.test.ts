// Output is drawn once and in order; what is gone is announced, and the screen begins anew.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Frame, Kind } from "../src/client/frame.ts";
import { KEYFRAME_MAX } from "../src/client/limits.ts";
import { type Draw, Output } from "../src/client/output.ts";

const data = (offset: number, text: string, kind: Kind = Kind.Data): Frame => ({
  kind,
  offset,
  payload: new TextEncoder().encode(text),
});

function drawn(what: Draw[] | { fault: string }): string[] {
  assert.ok(Array.isArray(what), "a fault");
  return what.map((one) =>
    one.draw === "bytes"
      ? `${one.replay ? "replay" : "data"} ${new TextDecoder().decode(one.bytes)} → ${one.mark.at}`
      : one.draw,
  );
}

test("what overlaps what is known is left out", () => {
  const output = new Output();
  assert.deepEqual(output.attached(1, 0, "exact"), []);
  assert.deepEqual(drawn(output.frame(data(0, "abc"))), ["data abc → 3"]);
  assert.deepEqual(drawn(output.frame(data(1, "bcd"))), ["data d → 4"]);
  assert.deepEqual(drawn(output.frame(data(0, "ab"))), []);
  assert.deepEqual(output.position(), { launch: 1, output: 4 });
});

test("missing bytes that nobody announced are a fault", () => {
  const output = new Output();
  output.attached(1, 0, "exact");
  assert.ok("fault" in output.frame(data(1, "b")));
  assert.ok("fault" in new Output().frame(data(0, "a")));
});

const FULL = 65536;
const piece = (offset: number, len: number): Frame => ({
  kind: Kind.Keyframe,
  offset,
  payload: new Uint8Array(len).fill(107),
});

test("a gap comes with its whole keyframe, or not at all", () => {
  const output = new Output();
  output.attached(1, 0, "exact");
  output.frame(data(0, "abc"));
  output.attached(1, 100, "keyframe");
  assert.ok("fault" in output.frame(piece(100, 7)), "nothing announced what is missing");
  assert.deepEqual(drawn(output.gap(3, 100, "lost")), []);
  assert.deepEqual(drawn(output.size({ cols: 80, rows: 24 }, 100)), []);
  assert.deepEqual(drawn(output.frame(piece(100, FULL))), []);
  assert.deepEqual(output.position(), { launch: 1, output: 3 });
  // The connection breaks here, and all of it comes again.
  output.attached(1, 100, "keyframe");
  output.gap(3, 100, "lost");
  output.frame(piece(100, FULL));
  const whole = drawn(output.frame(piece(100, 2)));
  assert.deepEqual(
    whole.map((one) => one.replace(/k{3,}/, "k…")),
    ["gap", "reset", "data k… → 3", "data kk → 100"],
  );
  assert.deepEqual(output.position(), { launch: 1, output: 100 });
  assert.deepEqual(drawn(output.frame(data(100, "$"))), ["data $ → 101"]);
});

test("a keyframe of full pieces is whole when something else of the stream follows", () => {
  for (const follow of [
    (output: Output) => output.frame(data(5, "x")),
    (output: Output) => output.live(),
    (output: Output) => output.size({ cols: 80, rows: 24 }, 5),
    (output: Output) => output.exit(5),
  ]) {
    const output = new Output();
    output.attached(1, 5, "keyframe");
    assert.deepEqual(output.frame(piece(5, FULL)), []);
    assert.deepEqual(output.position(), { launch: 1 });
    assert.equal(drawn(follow(output))[0], "reset");
    assert.equal(typeof output.position().output, "number");
  }
});

test("a first keyframe may be newer than the attachment, a later one may not", () => {
  const output = new Output();
  output.attached(1, 9, "keyframe");
  assert.deepEqual(drawn(output.frame(piece(20, 1))), ["reset", "data k → 20"]);
  assert.ok("fault" in output.frame(piece(30, 1)));
});

test("a gap without a keyframe comes with what follows, and counts as drawn in its turn", () => {
  const output = new Output();
  output.attached(1, 0, "exact");
  assert.deepEqual(drawn(output.gap(0, 7, "lost")), []);
  assert.deepEqual(drawn(output.frame(data(7, "x"))), ["gap", "data  → 7", "data x → 8"]);
  assert.ok("fault" in output.gap(9, 12, "lost"), "a gap has no gap before it");
  assert.ok("fault" in output.exit(9));
});

test("a keyframe beyond its limit is a fault", () => {
  const output = new Output();
  output.attached(1, 0, "keyframe");
  const piece: Frame = { kind: Kind.Keyframe, offset: 5, payload: new Uint8Array(65536) };
  for (let sent = 0; sent < KEYFRAME_MAX; sent += piece.payload.length) {
    assert.ok(Array.isArray(output.frame(piece)));
  }
  assert.ok("fault" in output.frame(piece));
});

test("a replay is marked, so that its queries are not answered", () => {
  const output = new Output();
  output.attached(1, 0, "exact");
  assert.deepEqual(drawn(output.frame(data(0, "q", Kind.Replay))), ["replay q → 1"]);
});

test("another launch clears the screen and counts from its own beginning", () => {
  const output = new Output();
  output.attached(1, 0, "exact");
  output.frame(data(0, "old"));
  assert.deepEqual(drawn(output.attached(2, 0, "keyframe")), ["reset"]);
  assert.deepEqual(output.position(), { launch: 2, output: 0 });
  assert.equal(output.drew({ launch: 1, at: 3, len: 3, keyframe: false }), false);
  assert.equal(output.drawn, 0);
});

test("what waits in the terminal is counted", () => {
  const output = new Output();
  output.attached(1, 0, "exact");
  const [draw] = output.frame(data(0, "abc")) as Draw[];
  assert.equal(output.undrawn, 3);
  assert.ok(draw?.draw === "bytes");
  assert.equal(output.drew(draw.mark), true);
  assert.deepEqual([output.undrawn, output.drawn], [0, 3]);
});
