// An attachment's output side: what comes is drawn, what was drawn is acknowledged, and the end is
// acknowledged at once. Knows no socket and no terminal.

import { type Frame, Kind } from "./frame.ts";
import { type Due, Lazy } from "./lazy.ts";
import { WINDOW_DEFAULT } from "./limits.ts";
import type { Attached, ExitStatus, ToClient } from "./messages.ts";
import { type Drawing, type Mark, Output } from "./output.ts";

/** Messages that have their place in the stream of output. */
export type InStream = Extract<ToClient, { type: "size" | "gap" | "live" | "exit" }>;

/** The output, and what its sender was told of it. */
export class Reading {
  private readonly output = new Output();
  private ack = new Lazy(0, WINDOW_DEFAULT);
  private keyframeDrawn = false;
  private end: { at: number; status: ExitStatus; acked: boolean } | undefined;

  /** For `attach`: where to go on. */
  position(): { launch?: number; output?: number } {
    return this.output.position();
  }

  /** Bytes handed to the terminal and not drawn yet. */
  get undrawn(): number {
    return this.output.undrawn;
  }

  /** The session had ended before this connection. */
  get ended(): boolean {
    return this.output.ended;
  }

  /** How the program ended, where this connection has said so. */
  get exit(): ExitStatus | undefined {
    return this.end?.status;
  }

  /** A connection stands; at most `window` bytes may be under way on it. */
  attached(attached: Attached, window: number): Drawing {
    const { launch, output, size, limits } = attached;
    this.end = undefined;
    this.keyframeDrawn = false;
    this.ack = new Lazy(output.from, Math.min(window, limits.window));
    const draws = this.output.attached(launch, output.from, output.resume);
    return output.resume === "exact" ? draws : [...draws, { draw: "size", size }];
  }

  /** A program by lines has no screen, and so no keyframe to begin with: who knows nothing of it
   * would begin with what it prints next. True where `attach` has to be said again, and will ask
   * for all that is kept. */
  asksAgain({ mode, launch, output }: Attached): boolean {
    const misses = mode === "lines" && output.resume === "exact" && output.from > 0;
    return misses && this.output.rewind(launch);
  }

  /** Who knows nothing yet asks for all that is kept of this launch. */
  fromStart(launch: number): void {
    this.output.rewind(launch);
  }

  /** Forgets what it has, so that the next attachment begins with a keyframe. */
  forget(): void {
    this.output.forget();
  }

  /** A frame of output. */
  frame(frame: Frame, now: number): Drawing {
    if (this.end !== undefined) return { fault: "output after exit" };
    const drawing = this.output.frame(frame);
    // Nobody draws a second time what is known, and it took room in the window.
    const known = frame.kind !== Kind.Keyframe && !("fault" in drawing) && drawing.length === 0;
    const end = frame.offset + frame.payload.length;
    if (known) this.ack.reach(Math.min(end, this.output.drawn), now);
    return drawing;
  }

  /** A message in the stream. */
  message(message: InStream): Drawing {
    switch (message.type) {
      case "size":
        return this.output.size({ cols: message.cols, rows: message.rows }, message.at);
      case "gap":
        return this.output.gap(message.from, message.to, message.why);
      case "live":
        return this.output.live();
      case "exit": {
        const { type: _, at, ...status } = message;
        const drawing = this.output.exit(at);
        if (!("fault" in drawing)) this.end = { at, status, acked: false };
        return drawing;
      }
    }
  }

  /** The terminal has parsed a piece. */
  drew(mark: Mark, now: number): void {
    if (!this.output.drew(mark)) return;
    this.ack.reach(mark.at, now);
    // The next keyframe waits for this, even where the offset says nothing new.
    if (mark.keyframe) this.keyframeDrawn = true;
  }

  /** When an acknowledgement is due. */
  due(now: number): Due {
    const { end } = this;
    // The bridge keeps the end for whoever has not drawn it: it is told without delay.
    const ended = end !== undefined && !end.acked && this.output.drawn >= end.at;
    return ended || this.keyframeDrawn ? { when: "now" } : this.ack.due(now);
  }

  /** What to acknowledge; from now on the gateway knows. */
  acknowledge(now: number): number {
    this.keyframeDrawn = false;
    const { end } = this;
    if (end !== undefined && this.output.drawn >= end.at) {
      this.ack.reach(end.at, now);
      end.acked = true;
    }
    return this.ack.tell();
  }
}
