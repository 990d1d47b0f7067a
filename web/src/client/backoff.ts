// How long to wait before the next try: full jitter, from 0.5 s to 30 s. Pure; chance is an
// argument.

import { BACK_OFF_FIRST_MILLIS, BACK_OFF_MAX_MILLIS } from "./limits.ts";

/** A number in [0, 1). */
export type Chance = () => number;

/** Counts failures since the last success. */
export class BackOff {
  private failures = 0;

  /** The pause before the next try, in milliseconds. `atOnce` makes the first one 0. */
  next(atOnce: boolean, chance: Chance): number {
    this.failures += 1;
    const doublings = atOnce ? this.failures - 2 : this.failures - 1;
    if (doublings < 0) return 0;
    const most = Math.min(
      BACK_OFF_MAX_MILLIS,
      BACK_OFF_FIRST_MILLIS * 2 ** Math.min(doublings, 16),
    );
    return Math.round(chance() * most);
  }

  /** Failures since the last success. */
  get count(): number {
    return this.failures;
  }

  /** It worked, or a person wants it: nothing counts any more. */
  reset(): void {
    this.failures = 0;
  }
}
