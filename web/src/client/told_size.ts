// The terminal's size as it is and as the gateway was told it. Pure; time is an argument, in
// milliseconds.

import { RESIZE_MILLIS } from "./limits.ts";
import type { Size } from "./messages.ts";

/** One terminal's size. */
export class ToldSize {
  private told: Size;
  private toldAt = 0;

  constructor(
    /** The size now. */
    public now: Size,
  ) {
    this.told = now;
  }

  /** The gateway knows the present size. */
  tell(at: number): Size {
    this.told = this.now;
    this.toldAt = at;
    return this.told;
  }

  /** When to tell it next; undefined where it is known. */
  get dueAt(): number | undefined {
    const { told, now } = this;
    if (told.cols === now.cols && told.rows === now.rows) return undefined;
    return this.toldAt + RESIZE_MILLIS;
  }
}
