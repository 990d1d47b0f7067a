// The thin skin over `attachment.ts`: real sockets, real timers, real tickets. Decides nothing.

import { Problem } from "./api.ts";
import { Attachment } from "./attachment.ts";
import type { Action, Event } from "./event.ts";
import { TIMER_MAX_MILLIS } from "./limits.ts";
import type { Role } from "./messages.ts";
import type { Settings } from "./settings.ts";
import type { TicketFailure } from "./stopped.ts";

/** What a WebSocket must be able to do here; a browser's can, and so can Node's `ws`. */
export type Socket = Pick<
  WebSocket,
  "binaryType" | "onopen" | "onmessage" | "onclose" | "onerror" | "send" | "close"
>;

/** What the attachment says to its owner; the rest is done here. */
export type Said = Extract<
  Action,
  { do: "draw" | "status" | "notice" | "exit" | "signalled" | "latency" | "input_lost" }
>;

/** The world outside. */
export interface World {
  /** Opens a socket to the session with these subprotocols. */
  socket: (subprotocols: string[]) => Socket;
  ticket: (role: Role) => Promise<string>;
  /** A newer token, or undefined where there is none to be had; rejected where nobody says. */
  renew: () => Promise<string | undefined>;
  said: (said: Said) => void;
  /** A steady clock, in milliseconds. */
  now: () => number;
}

/** The WebSocket subprotocol of the client leg. */
export const SUBPROTOCOL = "shellgate.v1";

/** What stands before a ticket among the subprotocols. */
export const TICKET_PREFIX = "ticket.";

/** A session that one page is attached to. */
export class Connection {
  private readonly attachment: Attachment;
  private socket: Socket | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly events: Event[] = [];
  private busy = false;

  constructor(
    settings: Settings,
    private readonly world: World,
  ) {
    this.attachment = new Attachment(settings);
  }

  /** Tells the attachment what happened, and does what it says. */
  tell(event: Event): void {
    this.events.push(event);
    // An owner that is told something may tell something back: one event at a time keeps what is
    // sent in the order in which it was decided.
    if (this.busy) return;
    this.busy = true;
    try {
      for (let next = this.events.shift(); next !== undefined; next = this.events.shift()) {
        for (const action of this.attachment.handle(next, this.world.now())) this.act(action);
      }
    } finally {
      this.busy = false;
    }
    this.wakeLater();
  }

  private wakeLater(): void {
    clearTimeout(this.timer);
    const now = this.world.now();
    const at = this.attachment.wakeAt(now);
    if (at === undefined) return;
    // At least a millisecond on: a clock's fraction must not make a busy loop.
    const pause = Math.min(Math.max(1, Math.ceil(at - now)), TIMER_MAX_MILLIS);
    this.timer = setTimeout(() => this.tell({ on: "tick" }), pause);
  }

  private act(action: Action): void {
    switch (action.do) {
      case "get_ticket":
        void this.getTicket(action.socket, action.role);
        return;
      case "open":
        this.open(action.socket, action.ticket);
        return;
      case "send":
        this.socket?.send(action.data);
        return;
      case "close":
        this.close(action.code);
        return;
      case "renew":
        void this.renew();
        return;
      case "draw":
      case "status":
      case "notice":
      case "exit":
      case "signalled":
      case "latency":
      case "input_lost":
        this.world.said(action);
        return;
    }
  }

  private async getTicket(socket: number, role: Role): Promise<void> {
    try {
      const ticket = await this.world.ticket(role);
      this.tell({ on: "ticket", socket, ticket });
    } catch (error) {
      this.tell({ on: "no_ticket", socket, failure: failure(error) });
    }
  }

  private async renew(): Promise<void> {
    try {
      const token = await this.world.renew();
      this.tell(token === undefined ? { on: "not_renewed" } : { on: "renewed", token });
    } catch {
      this.tell({ on: "nobody_renewed" });
    }
  }

  private open(number: number, ticket: string): void {
    const socket = this.world.socket([SUBPROTOCOL, TICKET_PREFIX + ticket]);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.tell({ on: "open", socket: number });
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (typeof data === "string") this.tell({ on: "text", socket: number, text: data });
      else if (data instanceof ArrayBuffer) {
        this.tell({ on: "binary", socket: number, bytes: new Uint8Array(data) });
      }
    };
    socket.onclose = ({ code, reason }) => {
      this.tell({ on: "closed", socket: number, code, reason });
    };
    // A close always follows an error and says more.
    socket.onerror = () => {};
  }

  private close(code: number): void {
    const socket = this.socket;
    this.socket = undefined;
    if (socket === undefined) return;
    socket.onopen = null;
    socket.onmessage = null;
    socket.onclose = null;
    socket.close(code);
  }
}

function failure(error: unknown): TicketFailure {
  if (!(error instanceof Problem)) return { status: 0 };
  const failure: TicketFailure = { status: error.status, detail: error.detail };
  if (error.code !== undefined) failure.code = error.code;
  if (error.retryAfter !== undefined) failure.retryAfter = error.retryAfter;
  return failure;
}
