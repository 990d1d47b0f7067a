// How far a session's start has got: its phase, for how long, and how long it usually takes.

import type { Starting } from "../client/index.ts";
import { h } from "./dom.ts";
import { PHASES, span } from "./words.ts";

/** What usually takes less than so many milliseconds is not worth a word. */
const EXPECTED_MIN_MILLIS = 500;

/** A step that takes so many times what it usually takes is not told how far it has got any more. */
const OVERDUE = 2;

/** How far a step has got that usually takes `expected` milliseconds (0: nobody knows), from 0 to 1,
 * undefined where that cannot be said; and in words. */
export function progress(elapsed: number, expected: number): { done?: number; words: string } {
  const words = span(elapsed);
  if (expected <= 0) return { words };
  const told = expected < EXPECTED_MIN_MILLIS ? words : `${words}, usually ${span(expected)}`;
  if (elapsed > OVERDUE * expected) return { words: told };
  // It slows down as it nears its end, so that a late step does not stand at "done".
  return { done: 1 - Math.exp((-1.6 * elapsed) / expected), words: told };
}

/** A panel with the phase that a start is in. */
export class StartPanel {
  readonly element: HTMLElement;
  private readonly phase = h("p", { className: "phase", attributes: { role: "status" } });
  private readonly bar = h("progress", {
    max: 1,
    attributes: { "aria-label": "Progress of this step" },
  });
  private readonly times = h("p", { className: "hint" });
  private timer: ReturnType<typeof setInterval> | undefined;

  constructor() {
    this.element = h(
      "section",
      { className: "card panel", hidden: true },
      h("h2", {}, "Starting your session"),
      this.phase,
      this.bar,
      this.times,
    );
  }

  /** Shows a phase, told at `at` by `performance.now()`. */
  show(starting: Starting, at: number): void {
    const place =
      starting.position === undefined ? "" : `: number ${starting.position} in the queue`;
    const words = `${PHASES[starting.phase]}${place}`;
    // The same words again would be read out again.
    if (this.phase.textContent !== words) this.phase.textContent = words;
    clearInterval(this.timer);
    const tick = () => {
      const elapsed = starting.elapsed_ms + performance.now() - at;
      const { done, words } = progress(elapsed, starting.expected_ms);
      if (done === undefined) this.bar.removeAttribute("value");
      else this.bar.value = done;
      this.times.textContent = words;
    };
    this.timer = setInterval(tick, 250);
    tick();
    this.element.hidden = false;
  }

  connecting(): void {
    if (!this.element.hidden) return;
    this.phase.textContent = "Connecting";
    this.times.textContent = "";
    this.bar.removeAttribute("value");
    this.element.hidden = false;
  }

  hide(): void {
    clearInterval(this.timer);
    this.element.hidden = true;
  }
}
