// An attachment's input side: the stream that is typed to, and what of it has to be sent. Knows no
// socket and no launch.

import type { Lost } from "./event.ts";
import { type Frame, Kind } from "./frame.ts";
import { Input } from "./input.ts";
import type { Attached } from "./messages.ts";

/** One input stream after the other. */
export class Typing {
  private readonly input = new Input();
  /** The present stream's name. */
  stream: string;

  constructor(private readonly freshStream: () => string) {
    this.stream = freshStream();
  }

  /** Bytes that are not applied. */
  get waiting(): number {
    return this.input.waiting;
  }

  /** Takes what was typed; refuses it whole where too much is waiting. */
  push(bytes: Uint8Array): boolean {
    return this.input.push(bytes);
  }

  /** A connection stands. False where the stream cannot go on from there. */
  resume({ input, limits }: Attached): boolean {
    return this.input.resume(input.applied, {
      frame: limits.input_frame,
      unapplied: limits.input_unapplied,
    });
  }

  /** All input before `offset` was applied. False where that was never sent. */
  applied(offset: number): boolean {
    return this.input.applied(offset);
  }

  /** What may be sent now; it counts as sent. */
  frames(): Frame[] {
    const frames: Frame[] = [];
    for (let piece = this.input.next(); piece !== undefined; piece = this.input.next()) {
      frames.push({ kind: Kind.Data, offset: piece.offset, payload: piece.bytes });
    }
    return frames;
  }

  /** Gives up what waits, and goes on at `at`. Returns how many bytes that were. */
  lose(why: Lost, at: number): number {
    // What was sent before the end may be what brought it about.
    const bytes = why === "ended" ? this.input.neverSent : this.input.waiting;
    this.input.restart(at);
    return bytes;
  }

  /** Another stream begins, in which no offset has ever named a byte. */
  begin(): void {
    this.stream = this.freshStream();
  }
}
