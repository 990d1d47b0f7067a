// Why an attachment stopped for good, from a close or from a ticket's refusal. Knows no state.

import { CloseCode } from "./close.ts";

/** Why an attachment stopped for good; only a person starts it again. */
export type Stopped = {
  /** `protocol` is a fault, `left` a person's wish; the others are the close codes in words. */
  why:
    | "left"
    | "ended"
    | "idle"
    | "another_driver"
    | "unauthenticated"
    | "forbidden"
    | "not_found"
    | "quota"
    | "protocol";
  /** The gateway's word for it (a problem's `code`, a close's reason). */
  code?: string;
  /** In words, where the gateway gave some. */
  detail?: string;
  /** Seconds after which it may be tried again. */
  retryAfter?: number;
};

/** Why there is no ticket. `status` 0: nobody answered. */
export interface TicketFailure {
  status: number;
  code?: string;
  detail?: string;
  retryAfter?: number;
}

/** The end that a close with this code is. */
export function stoppedByClose(code: number, reason: string): Stopped {
  const words: Record<number, Stopped["why"]> = {
    [CloseCode.Normal]: "ended",
    [CloseCode.Forbidden]: "forbidden",
    [CloseCode.NotFound]: "not_found",
    [CloseCode.Idle]: "idle",
    [CloseCode.AnotherDriver]: "another_driver",
    [CloseCode.Ended]: "ended",
    [CloseCode.Quota]: "quota",
  };
  const stopped: Stopped = { why: words[code] ?? "protocol" };
  // A name for machines, or words for people: the gateway has both.
  if (/^[a-z_]+$/.test(reason)) stopped.code = reason;
  else if (reason !== "") stopped.detail = reason;
  return stopped;
}

/** The end that a refused ticket is; undefined where another try may be granted one. */
export function stoppedByRefusal(failure: TicketFailure): Stopped | undefined {
  const words: Record<number, Stopped["why"]> = {
    403: "forbidden",
    404: "not_found",
    410: "ended",
    429: "quota",
  };
  const { status, code, detail, retryAfter } = failure;
  if (status < 400 || status >= 500 || status === 408) return undefined;
  const stopped: Stopped = { why: words[status] ?? "protocol" };
  if (code !== undefined) stopped.code = code;
  if (detail !== undefined) stopped.detail = detail;
  if (retryAfter !== undefined) stopped.retryAfter = retryAfter;
  return stopped;
}
