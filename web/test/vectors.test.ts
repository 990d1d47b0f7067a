// The golden messages of protocol/vectors, as far as the client leg goes: the Rust tests read the
// same files.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { after, CloseCode } from "../src/client/close.ts";
import {
  frameToBytes,
  Kind,
  type ParsedFrame,
  parseFromClient,
  parseToClient,
} from "../src/client/frame.ts";
import { readToClient } from "../src/client/messages.ts";

function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(`../protocol/vectors/${name}.json`, "utf8")) as T;
}

interface FrameCase {
  name: string;
  hex: string;
  fill?: { byte: string; count: number };
  from_client: ExpectedFrame;
  to_client: ExpectedFrame;
}

type ExpectedFrame = { bad: string } | { kind: string; offset: number; payload?: string };

interface ControlCase {
  name: string;
  json: string;
  means?: Record<string, unknown>;
  bad?: string;
}

function bytes(one: FrameCase): Uint8Array {
  const head = Buffer.from(one.hex, "hex");
  if (one.fill === undefined) return new Uint8Array(head);
  return new Uint8Array(
    Buffer.concat([head, Buffer.alloc(one.fill.count, Buffer.from(one.fill.byte, "hex"))]),
  );
}

function check(name: string, expected: ExpectedFrame, parsed: ParsedFrame, message: Uint8Array) {
  if ("bad" in parsed) {
    assert.deepEqual(expected, { bad: parsed.bad }, name);
    return;
  }
  assert.ok(!("bad" in expected), `${name} was taken`);
  const { frame } = parsed;
  assert.equal(
    Object.entries(Kind)
      .find(([, n]) => n === frame.kind)?.[0]
      .toLowerCase(),
    expected.kind,
    name,
  );
  assert.equal(frame.offset, expected.offset, name);
  if (expected.payload !== undefined) {
    assert.equal(Buffer.from(frame.payload).toString("hex"), expected.payload, name);
  }
  assert.deepEqual(frameToBytes(frame), message, `${name}: written as it was read`);
}

test("frames are read and written as the vectors say", () => {
  const { frames } = vectors<{ frames: FrameCase[] }>("frames");
  assert.ok(frames.length > 0);
  for (const one of frames) {
    const message = bytes(one);
    check(one.name, one.from_client, parseFromClient(message), message);
    check(one.name, one.to_client, parseToClient(message), message);
  }
});

test("a frame in the middle of a buffer is read from there", () => {
  const message = frameToBytes({ kind: Kind.Data, offset: 2 ** 40 + 3, payload: Uint8Array.of(1) });
  const padded = new Uint8Array([9, 9, ...message, 9]).subarray(2, 2 + message.length);
  const parsed = parseToClient(padded);
  assert.ok("frame" in parsed);
  assert.equal(parsed.frame.offset, 2 ** 40 + 3);
});

test("what the gateway says means what the vectors say", () => {
  const { to_client } = vectors<{ to_client: ControlCase[] }>("client_leg");
  assert.ok(to_client.length > 0);
  for (const one of to_client) {
    const parsed = readToClient(one.json);
    if (one.means === undefined) {
      assert.ok("bad" in parsed, `${one.name} was taken`);
      assert.equal(typeof one.bad, "string");
    } else {
      assert.ok("message" in parsed, `${one.name} was refused`);
      assert.deepEqual(parsed.message, one.means, one.name);
    }
  }
});

test("a message beyond the limit is refused unread", () => {
  const text = "x".repeat(20_000);
  assert.deepEqual(readToClient(JSON.stringify({ type: "notice", kind: "policy", text })), {
    bad: "longer than a control message",
  });
});

test("close codes are followed as the vectors say", () => {
  const file = vectors<{
    codes: { code: number; name: string; then: string }[];
    unknown: { code: number | null; then: string }[];
  }>("close");
  assert.deepEqual(Object.fromEntries(file.codes.map(({ code, name }) => [name, code])), {
    ...CloseCode,
  });
  for (const one of file.codes) assert.equal(after(one.code), one.then, one.name);
  for (const one of file.unknown) assert.equal(after(one.code ?? undefined), one.then);
});
