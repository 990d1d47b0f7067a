// Control messages of the client leg: JSON text, `{"type": …}`. Unknown fields are ignored, an
// unknown type is an error, as the protocol says. Knows no socket.

import { CONTROL_MAX, EDGE_MAX, EDGE_MIN, OFFSET_MAX } from "./limits.ts";

export type Role = "driver" | "observer";
export type Mode = "terminal" | "lines";
export type Phase = "queued" | "volume" | "secrets" | "task" | "dialling" | "reconnecting";
export type Resume = "exact" | "keyframe" | "ended";
export type GapReason = "lost" | "skipped";
export type Signal = "HUP" | "INT" | "QUIT" | "TERM" | "KILL" | "USR1" | "USR2" | "TSTP" | "CONT";
export type EndReason =
  | "exited"
  | "stopped"
  | "idle"
  | "lifetime"
  | "start_failed"
  | "lost"
  | "compromised"
  | "shutdown";

/** A terminal's size in cells. */
export interface Size {
  cols: number;
  rows: number;
}

/** How a program ended. */
export interface ExitStatus {
  code?: number;
  signal?: string;
  reason: EndReason;
  detail?: string;
}

/** The first message of a client. */
export interface Attach {
  type: "attach";
  role: Role;
  client: string;
  takeover?: boolean;
  launch?: number;
  output?: number;
  input_stream: string;
  size: Size;
  window: number;
}

/** Client → gateway. */
export type FromClient =
  | Attach
  | { type: "resize"; cols: number; rows: number }
  | { type: "visible"; yes: boolean }
  | { type: "signal"; id: number; name: Signal }
  | { type: "extend"; id: number }
  | { type: "reauth"; token: string }
  | { type: "ping"; t: number };

/** What a person should know, and nothing in the streams depends on. */
export type Notice =
  | { kind: "idle_warning"; seconds: number }
  | { kind: "lifetime_warning"; seconds: number }
  | { kind: "extended"; id: number; seconds: number }
  | { kind: "signalled"; id: number }
  | { kind: "observers"; count: number }
  | { kind: "taken_over"; applied: number }
  | { kind: "new_launch"; launch: number }
  | { kind: "partial_keyframe" }
  | { kind: "token_expires"; seconds: number }
  | { kind: "policy"; text: string };

/** The client is attached. */
export interface Attached {
  type: "attached";
  session: string;
  launch: number;
  mode: Mode;
  role: Role;
  output: { from: number; resume: Resume };
  input: { applied: number };
  size: Size;
  limits: { window: number; input_frame: number; input_unapplied: number; control: number };
  /** Types of message beyond the first version's that the gateway understands. */
  can?: string[];
}

/** The session has no link yet, or has lost it. */
export interface Starting {
  type: "starting";
  phase: Phase;
  position?: number;
  elapsed_ms: number;
  expected_ms: number;
}

/** Gateway → client. */
export type ToClient =
  | Starting
  | Attached
  | { type: "size"; cols: number; rows: number; at: number }
  | { type: "gap"; from: number; to: number; why: GapReason }
  | { type: "live" }
  | ({ type: "exit"; at: number } & ExitStatus)
  | ({ type: "notice" } & Notice)
  | { type: "goaway"; retry_ms: number }
  | { type: "pong"; t: number };

/** A message, or in words why it is none. */
export type ParsedMessage = { message: ToClient } | { bad: string };

class Bad extends Error {}

type Fields = Record<string, unknown>;

function object(value: unknown, what: string): Fields {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Bad(`${what} is not an object`);
  }
  return value as Fields;
}

function whole(fields: Fields, name: string, most: number): number {
  const value = fields[name];
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > most) {
    throw new Bad(`${name} is not a whole number from 0 to ${most}`);
  }
  return value;
}

function text(fields: Fields, name: string): string {
  const value = fields[name];
  if (typeof value !== "string") throw new Bad(`${name} is not a string`);
  return value;
}

function oneOf<T extends string>(fields: Fields, name: string, known: readonly T[]): T {
  const value = fields[name];
  const found = known.find((one) => one === value);
  if (found === undefined) throw new Bad(`${name} is none of ${known.join(", ")}`);
  return found;
}

const U32 = 0xffff_ffff;
const offset = (fields: Fields, name: string) => whole(fields, name, OFFSET_MAX);
const millis = offset;

function size(value: unknown): Size {
  const fields = object(value, "size");
  const edge = (name: string) => {
    const cells = whole(fields, name, EDGE_MAX);
    if (cells < EDGE_MIN) throw new Bad(`${name} is below ${EDGE_MIN}`);
    return cells;
  };
  return { cols: edge("cols"), rows: edge("rows") };
}

const absent = (fields: Fields, name: string) =>
  fields[name] === undefined || fields[name] === null;

/** How a program ended, from a message or from the session's own page. */
export function readExitStatus(value: unknown): ExitStatus | undefined {
  try {
    return exitStatus(object(value, "status"));
  } catch (error) {
    if (error instanceof Bad) return undefined;
    throw error;
  }
}

function exitStatus(fields: Fields): ExitStatus {
  const status: ExitStatus = {
    reason: oneOf(fields, "reason", [
      "exited",
      "stopped",
      "idle",
      "lifetime",
      "start_failed",
      "lost",
      "compromised",
      "shutdown",
    ]),
  };
  if (!absent(fields, "code")) {
    const code = fields.code;
    if (typeof code !== "number" || !Number.isInteger(code) || (code | 0) !== code) {
      throw new Bad("code is not a whole number of 32 bits");
    }
    status.code = code;
  }
  if (!absent(fields, "signal")) status.signal = text(fields, "signal");
  if (!absent(fields, "detail")) status.detail = text(fields, "detail");
  return status;
}

function notice(fields: Fields): Notice {
  const kind = oneOf(fields, "kind", [
    "idle_warning",
    "lifetime_warning",
    "extended",
    "signalled",
    "observers",
    "taken_over",
    "new_launch",
    "partial_keyframe",
    "token_expires",
    "policy",
  ]);
  switch (kind) {
    case "idle_warning":
    case "lifetime_warning":
    case "token_expires":
      return { kind, seconds: millis(fields, "seconds") };
    case "extended":
      return { kind, id: offset(fields, "id"), seconds: millis(fields, "seconds") };
    case "signalled":
      return { kind, id: offset(fields, "id") };
    case "observers":
      return { kind, count: whole(fields, "count", U32) };
    case "taken_over":
      return { kind, applied: offset(fields, "applied") };
    case "new_launch":
      return { kind, launch: whole(fields, "launch", U32) };
    case "partial_keyframe":
      return { kind };
    case "policy":
      return { kind, text: text(fields, "text") };
  }
}

function attached(fields: Fields): Attached {
  const session = text(fields, "session");
  if (!isSessionId(session)) throw new Bad("session is not a session's id");
  const output = object(fields.output, "output");
  const input = object(fields.input, "input");
  const limits = object(fields.limits, "limits");
  const { can = [] } = fields;
  if (!Array.isArray(can) || !can.every((one) => typeof one === "string")) {
    throw new Bad("can is not a list of strings");
  }
  return {
    type: "attached",
    session,
    launch: whole(fields, "launch", U32),
    mode: oneOf(fields, "mode", ["terminal", "lines"]),
    role: oneOf(fields, "role", ["driver", "observer"]),
    output: {
      from: offset(output, "from"),
      resume: oneOf(output, "resume", ["exact", "keyframe", "ended"]),
    },
    input: { applied: offset(input, "applied") },
    size: size(fields.size),
    limits: {
      window: whole(limits, "window", U32),
      input_frame: whole(limits, "input_frame", U32),
      input_unapplied: whole(limits, "input_unapplied", U32),
      control: whole(limits, "control", U32),
    },
    ...(can.length > 0 ? { can } : {}),
  };
}

function message(fields: Fields): ToClient {
  const type = oneOf(fields, "type", [
    "starting",
    "attached",
    "size",
    "gap",
    "live",
    "exit",
    "notice",
    "goaway",
    "pong",
  ]);
  switch (type) {
    case "starting": {
      const starting: Starting = {
        type,
        phase: oneOf(fields, "phase", [
          "queued",
          "volume",
          "secrets",
          "task",
          "dialling",
          "reconnecting",
        ]),
        elapsed_ms: millis(fields, "elapsed_ms"),
        expected_ms: millis(fields, "expected_ms"),
      };
      if (!absent(fields, "position")) starting.position = whole(fields, "position", U32);
      return starting;
    }
    case "attached":
      return attached(fields);
    case "size":
      return { type, ...size(fields), at: offset(fields, "at") };
    case "gap": {
      const gap = {
        type,
        from: offset(fields, "from"),
        to: offset(fields, "to"),
        why: oneOf(fields, "why", ["lost", "skipped"]),
      };
      return gap;
    }
    case "live":
      return { type };
    case "exit":
      return { type, at: offset(fields, "at"), ...exitStatus(fields) };
    case "notice":
      return { type, ...notice(fields) };
    case "goaway":
      return { type, retry_ms: millis(fields, "retry_ms") };
    case "pong":
      return { type, t: offset(fields, "t") };
  }
}

/** Reads one text message of the gateway. */
export function readToClient(json: string): ParsedMessage {
  if (json.length > CONTROL_MAX) return { bad: "longer than a control message" };
  try {
    return { message: message(object(JSON.parse(json), "the message")) };
  } catch (error) {
    if (error instanceof Bad) return { bad: error.message };
    if (error instanceof SyntaxError) return { bad: "not JSON" };
    throw error;
  }
}

/** Whether this is a session's id, in its one spelling. */
export function isSessionId(id: string): boolean {
  return /^ses_[0-9a-f]{32}$/.test(id);
}

/** A size held within the terminal's legal edges. */
export function legalSize(cols: number, rows: number): Size {
  const edge = (cells: number) =>
    Math.min(EDGE_MAX, Math.max(EDGE_MIN, Number.isFinite(cells) ? Math.floor(cells) : EDGE_MIN));
  return { cols: edge(cols), rows: edge(rows) };
}
