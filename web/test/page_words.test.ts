// What the page says of what goes on: pure, without a page.

import assert from "node:assert/strict";
import { test } from "node:test";
import { progress } from "../src/page/start_panel.ts";

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
