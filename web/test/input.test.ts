// What was typed reaches the program once and in order, however often the connection breaks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Input } from "../src/client/input.ts";
import { INPUT_KEPT_MAX } from "../src/client/limits.ts";

const LIMITS = { frame: 16, unapplied: 64 };

/** A program's terminal that takes input as the bridge does: overlap is left out. */
class Program {
  taken: number[] = [];

  take(offset: number, bytes: Uint8Array): void {
    assert.ok(offset <= this.taken.length, `bytes are missing before ${offset}`);
    this.taken.push(...bytes.subarray(this.taken.length - offset));
  }
}

/** The same numbers for the same seed. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state / 2 ** 32;
  };
}

test("nothing is lost and nothing repeated over a thousand breaks", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const chance = numbers(seed);
    const input = new Input();
    const program = new Program();
    const typed: number[] = [];
    assert.ok(input.resume(0, LIMITS));
    for (let step = 0; step < 1000; step++) {
      const pick = chance();
      if (pick < 0.4) {
        const bytes = Uint8Array.from({ length: Math.floor(chance() * 40) }, () => chance() * 256);
        assert.ok(input.push(bytes));
        typed.push(...bytes);
      } else if (pick < 0.7) {
        const piece = input.next();
        // A frame may be lost on its way: the connection breaks then.
        if (piece !== undefined && chance() < 0.9) program.take(piece.offset, piece.bytes);
        else if (piece !== undefined) assert.ok(input.resume(program.taken.length, LIMITS));
      } else if (pick < 0.9) {
        assert.ok(input.applied(program.taken.length));
      } else {
        assert.ok(input.resume(program.taken.length, LIMITS));
      }
    }
    assert.ok(input.resume(program.taken.length, LIMITS));
    for (let piece = input.next(); ; piece = input.next()) {
      if (piece === undefined) {
        if (input.waiting === 0) break;
        assert.ok(input.applied(program.taken.length));
        continue;
      }
      assert.ok(piece.bytes.length <= LIMITS.frame);
      program.take(piece.offset, piece.bytes);
    }
    assert.deepEqual(program.taken, typed);
  }
});

test("no more is sent than may be unapplied", () => {
  const input = new Input();
  input.resume(0, LIMITS);
  input.push(new Uint8Array(1000));
  let sent = 0;
  for (let piece = input.next(); piece !== undefined; piece = input.next()) {
    sent += piece.bytes.length;
  }
  assert.equal(sent, LIMITS.unapplied);
  assert.ok(input.applied(10));
  assert.equal(input.next()?.bytes.length, 10);
});

test("applied beyond what was sent is not believed", () => {
  const input = new Input();
  input.resume(0, LIMITS);
  input.push(new Uint8Array(10));
  assert.equal(input.applied(1), false);
  input.next();
  assert.equal(input.applied(10), true);
  assert.equal(input.applied(11), false);
});

test("a program that forgot what it had applied is not believed", () => {
  const input = new Input();
  input.resume(0, LIMITS);
  input.push(new Uint8Array(10));
  input.next();
  input.applied(10);
  assert.equal(input.resume(5, LIMITS), false);
});

test("a paste that does not fit is refused whole", () => {
  const input = new Input();
  assert.equal(input.push(new Uint8Array(INPUT_KEPT_MAX + 1)), false);
  assert.equal(input.waiting, 0);
  assert.equal(input.push(new Uint8Array(INPUT_KEPT_MAX)), true);
  assert.equal(input.push(Uint8Array.of(1)), false);
});

test("another launch gets nothing of what was typed to the last one", () => {
  const input = new Input();
  input.resume(0, LIMITS);
  input.push(Uint8Array.of(1, 2, 3));
  input.next();
  input.restart(0);
  assert.equal(input.waiting, 0);
  assert.equal(input.next(), undefined);
  input.push(Uint8Array.of(9));
  assert.deepEqual(input.next(), { offset: 0, bytes: Uint8Array.of(9) });
});
