// Only what a terminal answers to replayed queries is kept from the wire; a person's keys never.

import assert from "node:assert/strict";
import { test } from "node:test";
import { AnswerGate } from "../src/page/answer_gate.ts";

function gate() {
  const sent: string[] = [];
  const later: (() => void)[] = [];
  return {
    sent,
    gate: new AnswerGate(
      (text) => sent.push(text),
      (then) => later.push(then),
    ),
    /** The present synchronous run is over. */
    runEnds: () => {
      for (const then of later.splice(0)) then();
    },
  };
}

test("what is said outside a replay goes out at once", () => {
  const { gate: one, sent } = gate();
  one.said("l");
  assert.deepEqual(sent, ["l"]);
});

test("answers in the run that finishes the replayed piece are dropped", () => {
  const { gate: one, sent, runEnds } = gate();
  one.begin();
  one.said("\x1b[?1;2c");
  one.end();
  runEnds();
  assert.deepEqual(sent, []);
});

test("a key that comes before the replayed piece is parsed goes out", () => {
  const { gate: one, sent, runEnds } = gate();
  one.begin();
  runEnds();
  one.said("l");
  one.said("s");
  runEnds();
  assert.deepEqual(sent, ["l", "s"]);
  one.said("\x1b[?1;2c");
  one.end();
  runEnds();
  assert.deepEqual(sent, ["l", "s"]);
  one.said("\r");
  assert.deepEqual(sent, ["l", "s", "\r"]);
});
