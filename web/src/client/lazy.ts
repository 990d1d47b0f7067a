// When an acknowledgement is due: lazily, so that a keystroke does not cost two messages, but
// never so late that the sender runs out of credit. Pure; time is an argument.

import { LAZY_ALONE_MILLIS, LAZY_RIDE_MILLIS } from "./limits.ts";

/** `never`: nothing to say. `now`: alone if need be. `ride`: along with another message, else
 * alone at `at`. `later`: not yet, alone at `at`. Times in milliseconds of the caller's clock. */
export type Due = { when: "never" | "now" } | { when: "ride" | "later"; at: number };

/** One counter that its peer is told about. */
export class Lazy {
  private told: number;
  private reachedTo: number;
  private since = 0;
  private readonly atOnce: number;

  /** The peer knows about everything before `from`; a quarter of `window` goes out at once. */
  constructor(from: number, window: number) {
    this.told = from;
    this.reachedTo = from;
    this.atOnce = Math.max(1, Math.floor(window / 4));
  }

  /** Everything before `at` has been taken. */
  reach(at: number, now: number): void {
    if (at <= this.reachedTo) return;
    if (this.reachedTo === this.told) this.since = now;
    this.reachedTo = at;
  }

  /** Whether to say so. */
  due(now: number): Due {
    const owed = this.reachedTo - this.told;
    const waited = Math.max(0, now - this.since);
    if (owed <= 0) return { when: "never" };
    if (owed >= this.atOnce || waited >= LAZY_ALONE_MILLIS) return { when: "now" };
    const at = this.since + LAZY_ALONE_MILLIS;
    return { when: waited >= LAZY_RIDE_MILLIS ? "ride" : "later", at };
  }

  /** What to say; from now on the peer knows. */
  tell(): number {
    this.told = this.reachedTo;
    return this.told;
  }
}
