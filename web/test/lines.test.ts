// Sessions of lines: where they begin, how output is cut into lines, and the whole of it over real
// WebSockets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Kind } from "../src/client/frame.ts";
import { LINE_MAX, LineReader } from "../src/page/line_reader.ts";
import { Scene, started } from "./scene.ts";

const byLines = { mode: "lines" as const };

test("who comes to a program by lines asks for all that is kept, as there is no screen", () => {
  const scene = started().attaches({ ...byLines, output: { from: 900, resume: "exact" } });
  assert.deepEqual(
    scene.actions.filter((action) => action.do === "close"),
    [{ do: "close", code: 1000 }],
  );
  scene.connects();
  const attach = scene.said.findLast((one) => one.type === "attach");
  assert.deepEqual([attach?.launch, attach?.output], [1, 0]);
  scene.attaches(byLines).gets(Kind.Data, 0, "{}\n");
  assert.equal(scene.text, "{}\n");
  assert.equal(scene.count("get_ticket"), 2);
});

test("what is not kept of lines is a gap, and it is not asked for again", () => {
  const scene = started().attaches({ ...byLines, output: { from: 900, resume: "exact" } });
  scene.connects().attaches({ ...byLines, output: { from: 500, resume: "exact" } });
  scene.hears({ type: "gap", from: 0, to: 500, why: "lost" }).gets(Kind.Data, 500, "tail\n");
  assert.equal(scene.text, "tail\n");
  const gap = scene.drawings.find((what) => what.draw === "gap");
  assert.deepEqual(gap, { draw: "gap", from: 0, to: 500, why: "lost" });
  assert.equal(scene.count("get_ticket"), 2);
});

test("a program by lines that has said nothing yet is attached to at once", () => {
  const scene = started().attaches(byLines);
  const status = scene.status;
  assert.ok(status?.state === "attached");
  assert.equal(status.mode, "lines");
  assert.equal(scene.count("get_ticket"), 1);
});

test("a break in the middle of a line goes on in the middle of it", () => {
  const scene = started().attaches(byLines).gets(Kind.Data, 0, '{"half');
  scene.closes(1006).connects();
  const attach = scene.said.findLast((one) => one.type === "attach");
  assert.equal(attach?.output, 6);
  scene.attaches({ ...byLines, output: { from: 6, resume: "exact" } });
  scene.gets(Kind.Data, 6, '":1}\n');
  assert.equal(scene.text, '{"half":1}\n');
});

test("after a fault all lines are drawn anew, and none twice", () => {
  const scene = new Scene();
  scene.on({ on: "start" });
  scene.connects().attaches(byLines).gets(Kind.Data, 0, "one\n");
  scene.hears({ type: "attached" });
  assert.ok(scene.status?.state === "stopped");
  scene.on({ on: "attach_as", role: "driver" });
  scene.connects().attaches({ ...byLines, output: { from: 4, resume: "exact" } });
  scene.connects().attaches(byLines);
  assert.equal(scene.drawings.at(-1)?.draw, "reset");
});

const bytes = (text: string) => new TextEncoder().encode(text);

test("lines are the same however output was cut, characters included", () => {
  const text = "one\r\ntwö\n\nthree 終\nun";
  const whole = bytes(text);
  for (let cut = 0; cut <= whole.length; cut++) {
    const reader = new LineReader();
    const first = reader.take(whole.subarray(0, cut));
    const second = reader.take(whole.subarray(cut));
    assert.deepEqual([...first.lines, ...second.lines], ["one", "twö", "", "three 終"]);
    assert.equal(second.unfinished, "un");
    assert.equal(reader.breakOff(), "un");
    assert.equal(reader.breakOff(), undefined);
  }
});

test("a line that does not end is shown in pieces", () => {
  const reader = new LineReader();
  const { lines, unfinished } = reader.take(bytes("x".repeat(LINE_MAX + 1)));
  assert.deepEqual([lines.length, unfinished], [1, ""]);
});
