// One attachment against a scripted gateway, message by message: what it says, when it comes back
// and when it stops. No socket and no clock: time is a number.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { Kind } from "../src/client/frame.ts";
import { live, Scene, STREAMS, started } from "./scene.ts";

test("who has started a session reads it from its first byte on", () => {
  const scene = new Scene("driver", 0.5, undefined, true);
  scene.on({ on: "start" });
  scene.connects().attaches().gets(Kind.Data, 0, "welcome").draws();
  assert.deepEqual([scene.said[0]?.launch, scene.said[0]?.output], [1, 0]);
  assert.equal(scene.text, "welcome");
  // It may have been started anew meanwhile: that is another beginning, and no fault.
  scene.closes(4502).connects().attaches({ launch: 2 }).gets(Kind.Data, 0, "again");
  assert.equal(scene.text, "welcomeagain");
});

test("attach comes first, and nothing else before attached", () => {
  const scene = started().types("ls\r");
  assert.deepEqual(
    scene.said.map((one) => one.type),
    ["attach"],
  );
  assert.deepEqual(scene.frames, []);
  scene.attaches();
  assert.deepEqual(scene.frames, ["ls\r at 0"]);
});

test("what this client says is word for word in the golden vectors", () => {
  const vectors = JSON.parse(readFileSync("../protocol/vectors/client_leg.json", "utf8")) as {
    from_client: { means?: unknown }[];
  };
  const known = new Set(vectors.from_client.map((one) => JSON.stringify(one.means)));
  const scene = live();
  scene.gets(Kind.Data, 0, "12345").draws();
  scene.on({ on: "signal", name: "INT" });
  scene.on({ on: "extend" });
  scene.on({ on: "visible", yes: false });
  scene.on({ on: "visible", yes: true });
  scene.on({ on: "renewed", token: "e30.e30.c2ln" });
  scene.on({ on: "resized", size: { cols: 100, rows: 30 } });
  scene.passes(200);
  scene.on({ on: "resized", size: { cols: 120, rows: 40 } });
  scene.closes(4502).connects();
  const [, ping] = scene.said;
  assert.equal(ping?.type, "ping");
  const strange = scene.said.filter(
    (one) => one.type !== "ping" && one.type !== "resize" && !known.has(sorted(one, known)),
  );
  assert.deepEqual(strange, []);
  assert.ok(scene.said.length >= 9);
  const watcher = started("observer");
  assert.ok(known.has(sorted(watcher.said[0] ?? {}, known)));
});

/** The vector that says the same in whatever order of its fields. */
function sorted(one: Record<string, unknown>, known: Set<string>): string {
  const text = (value: Record<string, unknown>) =>
    JSON.stringify(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
  for (const each of known) {
    if (each !== undefined && text(JSON.parse(each) as Record<string, unknown>) === text(one)) {
      return each;
    }
  }
  return "";
}

test("after a break it comes back at once, to where it was, and sends what was not applied", () => {
  const scene = live().gets(Kind.Data, 0, "hello").types("abcdef").gets(Kind.Applied, 2);
  scene.closes(1006);
  assert.equal(scene.count("get_ticket"), 2);
  scene.connects();
  const attach = scene.said.findLast((one) => one.type === "attach");
  assert.deepEqual([attach?.launch, attach?.output, attach?.takeover], [1, 5, undefined]);
  assert.equal(attach?.input_stream, STREAMS[0]);
  scene.types("gh");
  assert.deepEqual(scene.frames, ["abcdef at 0"]);
  scene.attaches({ output: { from: 5, resume: "exact" }, input: { applied: 4 } });
  assert.deepEqual(scene.frames.slice(1), ["efgh at 4"]);
});

test("another launch gets nothing that was typed to the last one", () => {
  const scene = live().types("rm -rf build\r").closes(4502).connects();
  scene.attaches({ launch: 2 });
  assert.deepEqual(scene.frames, ["rm -rf build\r at 0"]);
  const lost = scene.actions.find((action) => action.do === "input_lost");
  assert.deepEqual(lost, { do: "input_lost", bytes: 13, why: "new_launch" });
  scene.types("ls\r");
  assert.deepEqual(scene.frames.at(-1), "ls\r at 0");
});

test("pauses grow from nothing to half a minute, and a lasting attachment resets them", () => {
  const scene = new Scene("driver", 0.999999);
  scene.on({ on: "start" });
  const pauses: number[] = [];
  for (let failure = 0; failure < 9; failure++) {
    scene.on({ on: "ticket", socket: scene.socket, ticket: "t" });
    scene.closes(1006);
    const { status } = scene;
    if (status?.state === "waiting") {
      pauses.push(status.until - scene.now);
      scene.passes(status.until - scene.now);
    } else pauses.push(0);
  }
  assert.deepEqual(pauses, [0, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  scene.connects().attaches().passes(5000).closes(4502);
  assert.equal(scene.status?.state, "connecting");
});

test("who is attached for a moment and gets nothing new comes back later each time", () => {
  const scene = new Scene("driver", 0.999999);
  scene.on({ on: "start" });
  scene.connects().attaches().gets(Kind.Data, 0, "old").closes(4502);
  assert.equal(scene.status?.state, "connecting");
  for (const pause of [500, 1000, 2000]) {
    // What is known already is no progress.
    scene.connects().attaches().gets(Kind.Replay, 0, "old").closes(4502);
    const status = scene.statuses.at(-1);
    assert.ok(status?.state === "waiting");
    assert.equal(status.until - scene.now, pause);
    scene.passes(pause);
  }
});

test("whoever got something new, or had something applied, comes back at once", () => {
  const scene = live();
  for (let at = 0; at < 5; at++) {
    scene.gets(Kind.Data, at, "x").closes(4502);
    assert.equal(scene.status?.state, "connecting");
    scene.connects().attaches({ output: { from: at + 1, resume: "exact" } });
  }
  scene.types("ab").gets(Kind.Applied, 1).closes(4502);
  assert.equal(scene.status?.state, "connecting");
});

test("a person may hurry a pause", () => {
  const scene = started("driver", 0.9).closes(1013);
  assert.equal(scene.status?.state, "waiting");
  const before = scene.count("get_ticket");
  scene.on({ on: "hurry" });
  assert.equal(scene.count("get_ticket"), before + 1);
});

test("a token is renewed once, and once more only after attached", () => {
  const scene = started().closes(4401);
  assert.equal(scene.count("renew"), 1);
  scene.on({ on: "renewed", token: "newer" });
  scene.connects().closes(4401);
  assert.equal(scene.count("renew"), 1);
  assert.deepEqual(scene.status, { state: "stopped", stopped: { why: "unauthenticated" } });

  const other = live().closes(4401);
  other.on({ on: "renewed", token: "newer" });
  other.connects().attaches().closes(4401);
  assert.equal(other.count("renew"), 2);
});

test("a renewal that never comes is not waited for", () => {
  const scene = live().closes(4401).passes(15_000);
  assert.equal(scene.count("get_ticket"), 2);
  scene.on({ on: "not_renewed" });
  assert.equal(scene.status?.state, "connecting", "it comes too late to say anything");
});

test("a renewal that nobody answers is tried again, and signs nobody out", () => {
  const scene = live().closes(4401);
  scene.on({ on: "nobody_renewed" });
  assert.equal(scene.status?.state, "connecting");
  assert.equal(scene.count("get_ticket"), 2);
  scene.on({ on: "no_ticket", socket: scene.socket, failure: { status: 401 } });
  assert.equal(scene.count("renew"), 2);
  scene.passes(15_000).passes(500);
  assert.equal(scene.count("get_ticket"), 3);
});

test("another driver stops it, and only a person takes over", () => {
  const scene = started().closes(4409);
  assert.deepEqual(scene.status, { state: "stopped", stopped: { why: "another_driver" } });
  scene.passes(120_000);
  assert.equal(scene.count("get_ticket"), 1);
  scene.on({ on: "take_over" });
  scene.connects();
  assert.equal(scene.said.at(-1)?.takeover, true);
  scene.closes(1006).connects();
  assert.equal(scene.said.at(-1)?.takeover, undefined);
});

test("being taken over drops what was not applied, and begins another stream", () => {
  const scene = live().types("abc");
  scene.hears({ type: "notice", kind: "taken_over", applied: 1 }).closes(4409);
  const lost = scene.actions.find((action) => action.do === "input_lost");
  assert.deepEqual(lost, { do: "input_lost", bytes: 2, why: "taken_over" });
  scene.on({ on: "take_over" });
  scene.connects();
  assert.equal(scene.said.at(-1)?.input_stream, STREAMS[1]);
  scene.attaches().types("d");
  assert.equal(scene.frames.at(-1), "d at 0");
});

test("an observer sends no input and no size", () => {
  const scene = started("observer").attaches().types("x");
  scene.on({ on: "resized", size: { cols: 10, rows: 10 } });
  scene.passes(1000);
  assert.deepEqual(scene.frames, []);
  assert.ok(scene.said.every((one) => one.type === "attach" || one.type === "ping"));
});

test("acknowledgements are lazy, ride along, and speak of what was drawn", () => {
  const scene = live().gets(Kind.Data, 0, "x");
  scene.passes(900);
  assert.deepEqual(scene.frames, [], "nothing was drawn yet");
  scene.draws().passes(450);
  assert.deepEqual(scene.frames, []);
  scene.types("l");
  assert.deepEqual(scene.frames, ["l at 0", "ack 1"]);
  scene.gets(Kind.Data, 1, "y").draws().passes(1001);
  assert.equal(scene.frames.at(-1), "ack 2");
});

test("a quarter of the window is acknowledged at once", () => {
  const scene = started("driver", 0.5, 65536).attaches();
  scene.gets(Kind.Data, 0, "x".repeat(16383)).draws();
  assert.deepEqual(scene.frames, []);
  scene.gets(Kind.Data, 16383, "x").draws();
  assert.deepEqual(scene.frames, ["ack 16384"]);
});

test("a keyframe is acknowledged even where nothing else is new", () => {
  const scene = started().attaches({ output: { from: 50, resume: "keyframe" } });
  scene.gets(Kind.Keyframe, 50, "screen").draws();
  assert.deepEqual(scene.frames, ["ack 50"]);
});

test("the end is acknowledged as soon as it is drawn, and shown when the gateway leaves", () => {
  const scene = live().gets(Kind.Data, 0, "bye");
  scene.hears({ type: "exit", at: 3, code: 7, reason: "exited" });
  assert.deepEqual(scene.frames, []);
  scene.draws();
  assert.deepEqual(scene.frames, ["ack 3"]);
  scene.closes(4410);
  assert.deepEqual(scene.status, {
    state: "stopped",
    stopped: { why: "ended" },
    exit: { code: 7, reason: "exited" },
  });
});

test("whoever has heard the end does not come back, and lost nothing by it", () => {
  const scene = live().types("exit\r").gets(Kind.Data, 0, "bye");
  scene.hears({ type: "exit", at: 3, code: 0, reason: "exited" }).draws().closes(4502);
  assert.deepEqual(scene.status, {
    state: "stopped",
    stopped: { why: "ended" },
    exit: { code: 0, reason: "exited" },
  });
  assert.equal(scene.count("get_ticket"), 1);
  assert.equal(scene.count("input_lost"), 0);
});

test("a driver who comes back after the end sees it as an observer", () => {
  const scene = live().types("abc").gets(Kind.Applied, 3).gets(Kind.Data, 0, "bye").draws();
  scene.types("def").closes(1006).types("gh").connects();
  scene.attaches({ role: "observer", output: { from: 3, resume: "ended" } });
  scene.hears({ type: "gap", from: 3, to: 90, why: "lost" }).gets(Kind.Keyframe, 90, "last screen");
  scene.hears({ type: "exit", at: 90, reason: "idle" }).draws().closes(4410);
  assert.deepEqual(scene.status, {
    state: "stopped",
    stopped: { why: "ended" },
    exit: { reason: "idle" },
  });
  assert.equal(scene.frames.filter((one) => one.startsWith("def")).length, 1, "not sent again");
  const lost = scene.actions.find((action) => action.do === "input_lost");
  assert.deepEqual(lost, { do: "input_lost", bytes: 2, why: "ended" });
});

test("a peer that is silent for a minute is left, one that answers is not", () => {
  const scene = live();
  for (let minute = 0; minute < 3; minute++) {
    scene.passes(25_000);
    const ping = scene.said.findLast((one) => one.type === "ping");
    scene.hears({ type: "pong", t: ping?.t });
  }
  assert.equal(scene.count("close"), 0);
  assert.ok(scene.count("latency") > 0);
  scene.passes(61_000);
  assert.equal(scene.count("close"), 1);
  assert.equal(scene.count("get_ticket"), 2);
});

test("a page that slept asks before it takes its peer for dead", () => {
  const scene = live().hears({ type: "pong", t: 1000 });
  scene.now += 3_600_000;
  scene.on({ on: "tick" });
  assert.equal(scene.count("close"), 0);
  scene.hears({ type: "pong", t: 1 }).passes(15_000);
  assert.equal(scene.count("close"), 0);
});

test("a peer that talks and answers no ping is not left, and one ping is under way at a time", () => {
  const scene = live();
  for (let second = 0; second < 180; second++) {
    scene.gets(Kind.Data, second, "x").passes(1000);
  }
  assert.equal(scene.count("close"), 0);
  assert.equal(scene.said.filter((one) => one.type === "ping").length, 1);
  scene.passes(25_000);
  const ping = scene.said.findLast((one) => one.type === "ping");
  scene.hears({ type: "pong", t: ping?.t }).passes(59_000);
  assert.equal(scene.count("close"), 0);
});

test("a gateway that leaves is left when it says so", () => {
  const scene = live().hears({ type: "goaway", retry_ms: 800 }).passes(700);
  assert.equal(scene.count("get_ticket"), 1);
  scene.passes(100);
  assert.equal(scene.count("close"), 1);
  scene.passes(500);
  assert.equal(scene.count("get_ticket"), 2);
});

test("a gateway that leaves earlier than it said is not followed before its time", () => {
  const scene = live().hears({ type: "goaway", retry_ms: 800 }).closes(1012).passes(799);
  assert.equal(scene.count("get_ticket"), 1);
  scene.passes(1);
  assert.equal(scene.count("get_ticket"), 2);
});

test("admission's no stops it, with its reason and its pause", () => {
  const scene = new Scene();
  scene.on({ on: "start" });
  const failure = { status: 429, code: "too_many_attachments", retryAfter: 9 };
  scene.on({ on: "no_ticket", socket: scene.socket, failure });
  assert.deepEqual(scene.status, {
    state: "stopped",
    stopped: { why: "quota", code: "too_many_attachments", retryAfter: 9 },
  });
});

test("an overloaded gateway is asked again when it said", () => {
  const scene = new Scene();
  scene.on({ on: "start" });
  scene.on({ on: "no_ticket", socket: scene.socket, failure: { status: 503, retryAfter: 7 } });
  scene.passes(6999);
  assert.equal(scene.count("get_ticket"), 1);
  scene.passes(1);
  assert.equal(scene.count("get_ticket"), 2);
});

test("a ticket or a handshake that never comes is given up", () => {
  const scene = new Scene();
  scene.on({ on: "start" });
  const first = scene.socket;
  scene.passes(15_000);
  assert.equal(scene.count("get_ticket"), 2);
  scene.on({ on: "ticket", socket: first, ticket: "late" });
  assert.equal(scene.count("open"), 0, "a late ticket is not used");
});

test("requests are repeated until answered, across a break too, and not once more", () => {
  const scene = live();
  scene.on({ on: "extend" });
  scene.passes(3000).closes(4502).connects().attaches();
  const extends_ = () => scene.said.filter((one) => one.type === "extend");
  assert.deepEqual(
    extends_().map((one) => one.id),
    [1, 1, 1],
  );
  scene.hears({ type: "notice", kind: "extended", id: 1, seconds: 900 }).passes(10_000);
  assert.equal(extends_().length, 3);
});

test("sizes are sent at most ten times a second, the last one always", () => {
  const scene = live().passes(200);
  for (let cols = 60; cols < 100; cols++) {
    scene.on({ on: "resized", size: { cols, rows: 30 } });
    scene.passes(10);
  }
  scene.passes(200);
  const sizes = scene.said.filter((one) => one.type === "resize");
  assert.ok(sizes.length <= 6, `${sizes.length} sizes`);
  assert.equal(sizes.at(-1)?.cols, 99);
});

test("a flapping network piles up no windows in the terminal", () => {
  const scene = started("driver", 0.5, 65536).attaches();
  scene.gets(Kind.Data, 0, "x".repeat(60_000)).closes(4502);
  assert.equal(scene.count("get_ticket"), 1, "it waits until that is drawn");
  scene.draws();
  assert.equal(scene.count("get_ticket"), 2);
});

test("a peer that breaks the protocol is left for good", () => {
  for (const scene of [
    live().hears({ type: "dance" }),
    live().gets(Kind.Applied, 1),
    live().attaches(),
    started().gets(Kind.Data, 0, "early"),
    live()
      .types("abc")
      .closes(4502)
      .connects()
      .attaches({ input: { applied: 4 } }),
  ]) {
    const { status } = scene;
    assert.ok(status?.state === "stopped" && status.stopped.why === "protocol");
    const close = scene.actions.findLast((action) => action.do === "close");
    assert.deepEqual(close, { do: "close", code: 4400 });
    scene.on({ on: "attach_as", role: "driver" });
    scene.connects();
    const attach = scene.said.at(-1);
    assert.equal(attach?.output, undefined, "the screen is not believed either");
    assert.notEqual(attach?.input_stream, STREAMS[0]);
  }
});

test("output that cannot be drawn is left alone, and asked for again where it was", () => {
  const scene = live().gets(Kind.Data, 0, "abc").types("ls").gets(Kind.Data, 9, "far away");
  const close = scene.actions.findLast((action) => action.do === "close");
  assert.deepEqual(close, { do: "close", code: 4400 });
  assert.equal(scene.status?.state, "waiting");
  scene.passes(30_000).connects();
  const attach = scene.said.at(-1);
  assert.deepEqual([attach?.output, attach?.input_stream], [3, STREAMS[0]]);
  scene.attaches({ output: { from: 3, resume: "exact" } });
  assert.equal(scene.frames.at(-1), "ls at 0");
});

test("a keyframe that broke off is asked for again from before it", () => {
  const full = "k".repeat(65536);
  const scene = live().gets(Kind.Data, 0, "abc").closes(4502).connects();
  scene.attaches({ output: { from: 90, resume: "keyframe" } });
  scene.hears({ type: "gap", from: 3, to: 90, why: "lost" }).gets(Kind.Keyframe, 90, full);
  const drawn = scene.count("draw");
  scene.closes(4502).passes(500).connects();
  assert.equal(scene.said.at(-1)?.output, 3);
  assert.equal(scene.count("draw"), drawn, "nobody saw a piece of it");
});

test("a socket that was given up is not heard", () => {
  const scene = live();
  const old = scene.socket;
  scene.closes(4502).connects().attaches();
  const before = scene.actions.length;
  scene.on({ on: "closed", socket: old, code: 4410, reason: "" });
  scene.on({ on: "text", socket: old, text: "nonsense" });
  assert.equal(scene.actions.length, before);
});
