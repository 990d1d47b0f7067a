// A session of the scripted gateway, as the gateway remembers it. Knows no request and no shell.

import { randomBytes } from "node:crypto";
import type { WebSocket } from "ws";
import type { Attach, ExitStatus, Mode, Signal } from "../src/client/messages.ts";

/** A client of a session. */
export interface Channel {
  socket: WebSocket;
  attach: Attach;
  /** All before this was acknowledged. */
  acked: number;
  sent: number;
  window: number;
  received: number;
  live: boolean;
  ended: boolean;
}

/** A session, its output and whoever is attached. */
export interface Session {
  id: string;
  name?: string;
  template: string;
  mode: Mode;
  state: "starting" | "live" | "ended";
  created: number;
  endedAt?: number;
  output: Buffer;
  /** The oldest byte that is kept. */
  keptFrom: number;
  /** The newest byte that a driver has acknowledged. */
  driverAcked: number;
  line: string;
  applied: Map<string, number>;
  typed: Buffer;
  /** The signals that its program was sent. */
  signals: Signal[];
  channels: Set<Channel>;
  size: { cols: number; rows: number };
  /** The sizes that its terminal has had. */
  sizes: string[];
  exit?: ExitStatus;
}

/** A session in which nothing has happened yet. */
export function freshSession(
  name: string | undefined,
  state: Session["state"],
  mode: Mode = "terminal",
): Session {
  return {
    id: `ses_${randomBytes(16).toString("hex")}`,
    ...(name === undefined ? {} : { name }),
    template: mode === "lines" ? "lines" : "default",
    mode,
    state,
    created: Date.now(),
    output: Buffer.alloc(0),
    keptFrom: 0,
    driverAcked: 0,
    line: "",
    applied: new Map(),
    typed: Buffer.alloc(0),
    signals: [],
    channels: new Set(),
    size: { cols: 80, rows: 24 },
    sizes: [],
  };
}

/** Its terminal has this size. */
export function resize(session: Session, { cols, rows }: Session["size"]): void {
  session.size = { cols, rows };
  const words = `${cols} × ${rows}`;
  if (session.sizes.at(-1) !== words) session.sizes.push(words);
}

/** What the API says of it. */
export function view(session: Session): object {
  const { id, name, template, mode, state, created, endedAt, exit, channels } = session;
  return {
    id,
    ...(name === undefined ? {} : { name }),
    template,
    state,
    launch: 1,
    mode,
    created_at: new Date(created).toISOString(),
    attached: [...channels].some((one) => one.attach.role === "driver"),
    observers: [...channels].filter((one) => one.attach.role === "observer").length,
    network: "none",
    ...(exit === undefined
      ? {}
      : { ended: { ...exit, at: new Date(endedAt ?? Date.now()).toISOString() } }),
  };
}
