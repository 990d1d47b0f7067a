// After a connection is gone: whether its client comes back, when, and with which token. Pure;
// time and chance are arguments.

import { BackOff, type Chance } from "./backoff.ts";
import { after } from "./close.ts";
import {
  BACK_OFF_MAX_MILLIS,
  RETRY_AFTER_MAX_MILLIS,
  RETURN_JITTER_MILLIS,
  STEADY_MILLIS,
} from "./limits.ts";
import { type Stopped, stoppedByClose, stoppedByRefusal, type TicketFailure } from "./stopped.ts";

/** What comes next. Times in milliseconds of the caller's clock. */
export type Next =
  /** `forgotten`: with another input stream. */
  { until: number; forgotten?: true } | { renew: true } | { stopped: Stopped };

/** The reason of a close that another input stream mends. */
const STREAM_FORGOTTEN = "stream_forgotten";

const UNAUTHENTICATED: Next = { stopped: { why: "unauthenticated" } };

/** The memory that decides about the next try. */
export class Comeback {
  private readonly backOff = new BackOff();
  private renewed = false;
  private restreamed = false;
  private attachedAt: number | undefined;
  private notBefore = 0;
  /** When to leave a gateway that said `goaway`. */
  leaveAt: number | undefined;

  constructor(private readonly chance: Chance) {}

  /** Tries since the last success. */
  get failures(): number {
    return this.backOff.count;
  }

  /** A person wants it: nothing counts any more. */
  wanted(): void {
    this.backOff.reset();
    this.renewed = false;
    this.restreamed = false;
  }

  /** A socket is open. */
  opened(): void {
    this.leaveAt = undefined;
    this.notBefore = 0;
    this.attachedAt = undefined;
  }

  attached(now: number): void {
    this.renewed = false;
    this.restreamed = false;
    this.attachedAt = now;
  }

  /** New bytes came, or typed ones were applied: what follows is another trouble. */
  progressed(): void {
    this.backOff.reset();
  }

  /** The gateway leaves in so many milliseconds. */
  goaway(retryMillis: number, now: number): void {
    this.leaveAt = now + Math.min(retryMillis, BACK_OFF_MAX_MILLIS);
    this.notBefore = this.leaveAt;
  }

  /** The socket was closed. */
  afterClose(code: number, reason: string, now: number): Next {
    this.forgetIfSteady(now);
    switch (after(code)) {
      case "stop":
        if (reason === STREAM_FORGOTTEN && !this.restreamed) {
          this.restreamed = true;
          // The session itself has answered: there is nothing to wait for.
          this.backOff.reset();
          return { ...this.pause(true, now), forgotten: true };
        }
        return { stopped: stoppedByClose(code, reason) };
      case "return":
        return this.afterGoodbye(now);
      case "retry":
        return this.pause(true, now);
      case "back_off":
        return this.pause(false, now);
      case "renew":
        return this.renew();
    }
  }

  /** Nobody answered in time: not the peer, and not who would have renewed the token. */
  afterSilence(now: number): Next {
    this.forgetIfSteady(now);
    this.renewed = false;
    return this.pause(true, now);
  }

  /** The gateway left in good order. One after the other that does so is no good order. */
  afterGoodbye(now: number): Next {
    this.forgetIfSteady(now);
    const jitter = this.chance() * RETURN_JITTER_MILLIS;
    return this.until(now + Math.max(jitter, this.backOff.next(true, this.chance)));
  }

  /** The peer said what cannot be: what was drawn before stands, and another connection may do
   * better. */
  afterNonsense(now: number): Next {
    return this.pause(false, now);
  }

  /** There is no ticket. */
  afterRefusal(failure: TicketFailure, now: number): Next {
    if (failure.status === 401) return this.renew();
    const stopped = stoppedByRefusal(failure);
    if (stopped !== undefined) return { stopped };
    const pause = this.backOff.next(failure.status === 0, this.chance);
    const asked = Math.min((failure.retryAfter ?? 0) * 1000, RETRY_AFTER_MAX_MILLIS);
    return this.until(now + Math.max(pause, asked));
  }

  private renew(): Next {
    if (this.renewed) return UNAUTHENTICATED;
    this.renewed = true;
    return { renew: true };
  }

  private pause(atOnce: boolean, now: number): { until: number } {
    return this.until(now + this.backOff.next(atOnce, this.chance));
  }

  private until(at: number): { until: number } {
    return { until: Math.max(at, this.notBefore) };
  }

  private forgetIfSteady(now: number): void {
    if (this.attachedAt === undefined) return;
    if (now - this.attachedAt >= STEADY_MILLIS) this.backOff.reset();
    this.attachedAt = undefined;
  }
}
