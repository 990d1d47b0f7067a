// What an attachment is told, and what it tells its skin to do. Knows neither.

import type { ExitStatus, Notice, Role, Signal, Size } from "./messages.ts";
import type { Draw, Mark } from "./output.ts";
import type { Status } from "./status.ts";
import type { TicketFailure } from "./stopped.ts";

/** What happens to an attachment. `socket` numbers keep a socket that was given up from being
 * heard. */
export type Event =
  | { on: "start" }
  | { on: "ticket"; socket: number; ticket: string }
  | { on: "no_ticket"; socket: number; failure: TicketFailure }
  | { on: "open"; socket: number }
  | { on: "text"; socket: number; text: string }
  | { on: "binary"; socket: number; bytes: Uint8Array }
  | { on: "closed"; socket: number; code: number; reason: string }
  | { on: "renewed"; token: string }
  /** There is no newer token to be had. */
  | { on: "not_renewed" }
  /** Nobody said whether there is one. */
  | { on: "nobody_renewed" }
  | { on: "typed"; bytes: Uint8Array }
  | { on: "drew"; mark: Mark }
  | { on: "resized"; size: Size }
  | { on: "visible"; yes: boolean }
  | { on: "signal"; name: Signal }
  | { on: "extend" }
  /** Take the session from another driver. */
  | { on: "take_over" }
  /** Attach again in another role, or after a stop. */
  | { on: "attach_as"; role: Role }
  /** Don't wait any longer (a person's wish, or the network is back). */
  | { on: "hurry" }
  | { on: "leave" }
  | { on: "tick" };

/** What its skin does. */
export type Action =
  | { do: "get_ticket"; socket: number; role: Role }
  | { do: "open"; socket: number; ticket: string }
  | { do: "send"; data: string | Uint8Array<ArrayBuffer> }
  | { do: "close"; code: number }
  /** Get a newer token, and answer `renewed`, `not_renewed` or `nobody_renewed`. */
  | { do: "renew" }
  | { do: "draw"; what: Draw }
  | { do: "status"; status: Status }
  | { do: "notice"; notice: Notice }
  | { do: "exit"; status: ExitStatus }
  /** A signal that was asked for has been sent. */
  | { do: "signalled"; name: Signal }
  /** The way there and back took so long. */
  | { do: "latency"; millis: number }
  /** So many typed bytes are not known to be applied, and are not sent again. */
  | { do: "input_lost"; bytes: number; why: Lost };

/** Why typed bytes won't be applied. `full`: there was no room for them. `forgotten`: the session
 * does not know their stream any more. */
export type Lost = "new_launch" | "taken_over" | "ended" | "fault" | "full" | "forgotten";
