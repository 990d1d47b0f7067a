// What the page says of what goes on: pure, without a page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { progress } from "../src/page/start_panel.ts";
import { TouchKeys } from "../src/page/touch_keys.ts";

test("a step that is over in no time is not said to take 0 s usually", () => {
  assert.equal(progress(3000, 26).words, "3 s");
  assert.equal(progress(3000, 1800).words, "3 s, usually 2 s");
  assert.equal(progress(3000, 0).words, "3 s");
});

test("a step that is overdue does not look as if it were done", () => {
  assert.ok((progress(1800, 1800).done ?? 1) < 0.9);
  assert.equal(progress(3601, 1800).done, undefined);
  assert.equal(progress(3000, 26).done, undefined);
  assert.equal(progress(3000, 0).done, undefined);
});

test("Ctrl on a touch screen holds for one key, wherever that is typed", () => {
  const keys = new TouchKeys();
  const held: boolean[] = [];
  keys.ctrlChanged = (yes) => held.push(yes);
  keys.ctrl();
  assert.equal(keys.typed("c"), "\x03");
  assert.equal(keys.typed("c"), "c");
  keys.ctrl();
  assert.equal(keys.key("up", false), "\x1b[1;5A");
  assert.deepEqual(held, [true, false, true, false]);
  keys.ctrl();
  assert.equal(keys.typed("\x1b[?1;2c"), "\x1b[?1;2c", "a terminal's answer");
  assert.equal(keys.typed(" "), "\0");
  keys.ctrl();
  assert.equal(keys.typed("ä"), "ä");
  keys.ctrl();
  keys.ctrl();
  assert.equal(keys.typed("c"), "c");
});

test("arrows are those that the program has asked for", () => {
  const keys = new TouchKeys();
  assert.equal(keys.key("left", false), "\x1b[D");
  assert.equal(keys.key("left", true), "\x1bOD");
  assert.equal(keys.key("escape", true), "\x1b");
  assert.equal(keys.key("tab", false), "\t");
});
