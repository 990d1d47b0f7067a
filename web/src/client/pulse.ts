// Whether the peer still lives: a browser shows no WebSocket pings, so this end asks by itself.
// Pure; time is an argument, in milliseconds.

import { PING_GRACE_MILLIS, PING_MILLIS, SILENCE_MILLIS } from "./limits.ts";

/** The pulse of one connection. */
export class Pulse {
  private heardAt: number;
  private asked: { at: number; token: number } | undefined;

  constructor(now: number) {
    this.heardAt = now;
  }

  /** Anything at all has come. */
  heard(now: number): void {
    this.heardAt = now;
  }

  /** Asks: what to put into the `ping`. */
  ask(now: number): number {
    const token = Math.max(0, Math.floor(now));
    this.asked = { at: now, token };
    return token;
  }

  /** An answer has come: how long the way there and back took, where it is the newest one. */
  answered(token: number, now: number): number | undefined {
    if (this.asked?.token !== token) return undefined;
    const millis = Math.max(0, now - this.asked.at);
    this.asked = undefined;
    return millis;
  }

  /** When to ask next. A gateway owes no answer while other bytes wait for this end, so one that
   * stays away is asked for again once nothing else is heard. */
  get askAt(): number {
    return Math.max(this.heardAt, this.asked?.at ?? 0) + PING_MILLIS;
  }

  /** When a peer that was asked is dead; undefined where it was not asked. */
  get deadAt(): number | undefined {
    if (this.asked === undefined) return undefined;
    return Math.max(this.heardAt + SILENCE_MILLIS, this.asked.at + PING_GRACE_MILLIS);
  }
}
