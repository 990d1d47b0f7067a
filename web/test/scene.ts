// One attachment, a clock that is a number, and a gateway that says what a test wants: for tests
// of the attachment, message by message.

import assert from "node:assert/strict";
import { Attachment } from "../src/client/attachment.ts";
import type { Action } from "../src/client/event.ts";
import { frameToBytes, Kind, parseFromClient } from "../src/client/frame.ts";
import type { Attached, Role } from "../src/client/messages.ts";
import type { Draw } from "../src/client/output.ts";
import type { Status } from "../src/client/status.ts";

/** The client's own random bits. */
export const CLIENT = "0123456789abcdef0123456789abcdef";
/** Its streams, in the order in which they begin. */
export const STREAMS = ["fedcba9876543210fedcba9876543210", "00000000000000000000000000000007"];

/** An attachment, a clock, and all that it did. */
export class Scene {
  now = 1000;
  said: Record<string, unknown>[] = [];
  frames: string[] = [];
  actions: Action[] = [];
  statuses: Status[] = [];
  /** All that the terminal was told to draw, in order. */
  drawings: Draw[] = [];
  streams = 0;
  readonly attachment: Attachment;

  constructor(
    readonly role: Role = "driver",
    chance = 0.5,
    window?: number,
    fresh = false,
  ) {
    this.attachment = new Attachment({
      role,
      client: CLIENT,
      freshStream: () => STREAMS[this.streams++] ?? "ffffffffffffffffffffffffffffffff",
      size: { cols: 120, rows: 40 },
      chance: () => chance,
      ...(window === undefined ? {} : { window }),
      fresh,
    });
  }

  on(event: Parameters<Attachment["handle"]>[0]): Action[] {
    const actions = this.attachment.handle(event, this.now);
    for (const action of actions) {
      this.actions.push(action);
      if (action.do === "status") this.statuses.push(action.status);
      if (action.do === "draw") this.drawings.push(action.what);
      if (action.do !== "send") continue;
      if (typeof action.data === "string") {
        this.said.push(JSON.parse(action.data) as Record<string, unknown>);
      } else {
        const parsed = parseFromClient(action.data);
        assert.ok("frame" in parsed, "a frame that no client may send");
        const { kind, offset, payload } = parsed.frame;
        const text = new TextDecoder().decode(payload);
        this.frames.push(kind === Kind.Ack ? `ack ${offset}` : `${text} at ${offset}`);
      }
    }
    return actions;
  }

  /** All bytes that the terminal was told to draw, as text. */
  get text(): string {
    const decoder = new TextDecoder();
    return this.drawings
      .map((what) => (what.draw === "bytes" ? decoder.decode(what.bytes, { stream: true }) : ""))
      .join("");
  }

  /** The number of the socket that a ticket was asked for last. */
  get socket(): number {
    const asked = this.actions.findLast((action) => action.do === "get_ticket");
    assert.ok(asked?.do === "get_ticket", "no ticket was asked for");
    return asked.socket;
  }

  get status(): Status | undefined {
    return this.statuses.at(-1);
  }

  count(what: Action["do"]): number {
    return this.actions.filter((action) => action.do === what).length;
  }

  connects(): this {
    this.on({ on: "ticket", socket: this.socket, ticket: "t" });
    this.on({ on: "open", socket: this.socket });
    return this;
  }

  hears(message: object): this {
    this.on({ on: "text", socket: this.socket, text: JSON.stringify(message) });
    return this;
  }

  gets(kind: Kind, offset: number, text = ""): this {
    const payload = new TextEncoder().encode(text);
    this.on({ on: "binary", socket: this.socket, bytes: frameToBytes({ kind, offset, payload }) });
    return this;
  }

  /** The terminal has parsed all that it was given. */
  draws(): this {
    for (const action of this.actions) {
      if (action.do === "draw" && action.what.draw === "bytes") {
        this.on({ on: "drew", mark: action.what.mark });
        Object.assign(action, { do: "drawn" });
      }
    }
    return this;
  }

  attaches(part: Partial<Attached> = {}): this {
    return this.hears(attached({ role: this.role, ...part }));
  }

  types(text: string): this {
    this.on({ on: "typed", bytes: new TextEncoder().encode(text) });
    return this;
  }

  closes(code: number, reason = ""): this {
    this.on({ on: "closed", socket: this.socket, code, reason });
    return this;
  }

  passes(millis: number): this {
    const end = this.now + millis;
    for (let at = this.attachment.wakeAt(this.now); at !== undefined && at <= end; ) {
      assert.ok(at >= this.now || at <= end, "time runs on");
      this.now = Math.max(this.now, at);
      this.on({ on: "tick" });
      const next = this.attachment.wakeAt(this.now);
      assert.ok(next === undefined || next > this.now, "a tick leaves nothing due");
      at = next;
    }
    this.now = end;
    return this;
  }
}

function attached(part: Partial<Attached> = {}): Attached {
  return {
    type: "attached",
    session: "ses_0198c7d2a4b37e5f8a9b0c1d2e3f4a5b",
    launch: 1,
    mode: "terminal",
    role: "driver",
    output: { from: 0, resume: "exact" },
    input: { applied: 0 },
    size: { cols: 120, rows: 40 },
    limits: { window: 1048576, input_frame: 16384, input_unapplied: 1048576, control: 16384 },
    ...part,
  };
}

/** Connected, and `attach` said. */
export function started(role: Role = "driver", chance = 0.5, window?: number): Scene {
  const scene = new Scene(role, chance, window);
  scene.on({ on: "start" });
  return scene.connects();
}

/** Attached. */
export const live = () => started().attaches();
