// One launch's output as this client has it: where it has got to, what is on its way through the
// terminal, and what to draw next. Knows no socket and no terminal.

import { type Frame, Kind } from "./frame.ts";
import { KEYFRAME_MAX, OUTPUT_FRAME_MAX } from "./limits.ts";
import type { GapReason, Resume, Size } from "./messages.ts";
import { overlap } from "./offset.ts";

/** What the terminal does next, strictly in this order. */
export type Draw =
  /** Forget everything drawn: another screen begins. */
  | { draw: "reset" }
  | { draw: "size"; size: Size }
  /** Bytes for the terminal, at times none; report them with `drew` when it has parsed them. */
  | { draw: "bytes"; bytes: Uint8Array; replay: boolean; mark: Mark }
  | { draw: "gap"; from: number; to: number; why: GapReason }
  /** What follows is new. */
  | { draw: "live" };

/** Comes back when the terminal has parsed a piece. */
export interface Mark {
  /** The launch that the piece belongs to. */
  readonly launch: number;
  /** Everything before this offset has been drawn then. */
  readonly at: number;
  /** Bytes of the piece. */
  readonly len: number;
  /** The last piece of a keyframe: acknowledged even where it doesn't move the offset. */
  readonly keyframe: boolean;
}

/** Why what came cannot be drawn: the sender broke the protocol. */
export type OutputFault = { fault: string };

/** What to draw, or why nothing of it can be. */
export type Drawing = Draw[] | OutputFault;

/** News that wait for the end of their keyframe, in their order. */
interface Held {
  gap?: { from: number; to: number; why: GapReason };
  size?: Size;
  /** Where output goes on after them. */
  at: number;
  pieces: Uint8Array[];
  bytes: number;
}

/**
 * The output of one session, across launches and connections.
 *
 * A gap and its keyframe are one thing: they are held back until the keyframe is whole. A
 * connection that breaks in between leaves the client where it was before the gap, and it is told
 * of it again; nobody ever sees a piece of a screen.
 */
export class Output {
  private launch: number | undefined;
  /** All output before this was drawn, is queued in the terminal, or was announced as a gap.
   * Unknown until the first keyframe. */
  private known: number | undefined;
  /** Where the present connection said that output goes on. */
  private start = 0;
  /** The session had ended before this connection: only its last screen is left. */
  ended = false;
  private held: Held | undefined;
  private undrawnBytes = 0;
  private drawnTo = 0;
  /** What was drawn is drawn again. */
  private rewound = false;

  /** For `attach`: the launch and the offset to go on from, where there is one. */
  position(): { launch?: number; output?: number } {
    if (this.launch === undefined) return {};
    if (this.known === undefined) return { launch: this.launch };
    return { launch: this.launch, output: this.known };
  }

  /** Bytes handed to the terminal and not drawn yet. */
  get undrawn(): number {
    return this.undrawnBytes;
  }

  /** Everything before this offset of the launch was drawn. */
  get drawn(): number {
    return this.drawnTo;
  }

  /** An attachment begins; its output goes on at `from`. */
  attached(launch: number, from: number, resume: Resume): Draw[] {
    const first = this.launch === undefined;
    const another = !first && launch !== this.launch;
    const { rewound } = this;
    this.rewound = false;
    this.held = undefined;
    this.launch = launch;
    this.start = from;
    this.ended = resume === "ended";
    if (another) {
      // A client that waits for its first keyframe goes on waiting for it.
      if (this.known !== undefined) this.known = 0;
      this.drawnTo = 0;
    }
    const begins = this.known === undefined && resume === "exact";
    if (begins) {
      this.known = from;
      this.drawnTo = from;
    }
    return another || rewound || (begins && !first) ? [{ draw: "reset" }] : [];
  }

  /** Forgets what it has, so that the next attachment begins with a keyframe. */
  forget(): void {
    this.known = undefined;
    this.held = undefined;
  }

  /** Who knows nothing of a launch goes on from its beginning instead of its newest byte. False
   * where something is known. */
  rewind(launch: number): boolean {
    if (this.known !== undefined) return false;
    this.rewound = this.launch !== undefined;
    this.launch = launch;
    this.known = 0;
    this.drawnTo = 0;
    return true;
  }

  /** A frame of output. */
  frame(frame: Frame): Drawing {
    if (this.launch === undefined) return { fault: "output before attached" };
    if (frame.kind === Kind.Keyframe) return this.keyframePiece(frame);
    const next = this.next();
    const met = overlap(next, frame.offset, frame.payload.length);
    if (met === "known") return [];
    if (met === "missing") return this.hole(frame.offset);
    const before = this.release();
    this.known = frame.offset + frame.payload.length;
    const bytes = frame.payload.subarray(met.skip);
    return [...before, this.bytes(bytes, frame.kind === Kind.Replay, this.known, false)];
  }

  /** Output from `from` to `to` will not come. */
  gap(from: number, to: number, why: GapReason): Drawing {
    if (from > this.next()) return this.hole(from);
    const before = this.release();
    const known = this.known ?? this.start;
    if (to > known) {
      this.held = { gap: { from: known, to, why }, at: to, pieces: [], bytes: 0 };
    }
    return before;
  }

  /** The terminal has another size from `at` on. */
  size(size: Size, at: number): Drawing {
    const next = this.next();
    if (at > next && !this.mayStartAt(at)) return this.hole(at);
    if (at < next) return [];
    if (this.held !== undefined && this.held.pieces.length === 0) {
      this.held.size = size;
      return [];
    }
    return [...this.release(), { draw: "size", size }];
  }

  /** From here on output is new. */
  live(): Draw[] {
    return [...this.release(), { draw: "live" }];
  }

  /** The output ends at `at`. */
  exit(at: number): Drawing {
    const next = this.next();
    // Where a bridge did not live to say it, nobody knows where the output ended.
    if (at !== next && !this.ended && !this.mayStartAt(at)) return this.hole(at);
    const before = this.release();
    const moved = this.known !== at;
    this.known = at;
    return moved ? [...before, this.bytes(new Uint8Array(), false, at, false)] : before;
  }

  /** The terminal has parsed a piece. False for one of another launch. */
  drew(mark: Mark): boolean {
    this.undrawnBytes = Math.max(0, this.undrawnBytes - mark.len);
    if (mark.launch !== this.launch) return false;
    this.drawnTo = Math.max(this.drawnTo, mark.at);
    return true;
  }

  /** Pieces of one keyframe follow on each other and have one offset. One that is not full is the
   * last; after a full one the next message of the stream tells. */
  private keyframePiece({ offset, payload }: Frame): Drawing {
    const next = this.next();
    if (offset < next) return [];
    if (offset > next && !this.mayStartAt(offset)) return this.hole(offset);
    const held = this.held ?? { at: offset, pieces: [], bytes: 0 };
    if (held.bytes + payload.length > KEYFRAME_MAX) return { fault: "a keyframe beyond its limit" };
    held.pieces.push(payload);
    held.bytes += payload.length;
    this.held = held;
    return payload.length < OUTPUT_FRAME_MAX ? this.release() : [];
  }

  /** Whatever follows, no piece of a keyframe does: draws what was held back. */
  private release(): Draw[] {
    const { held } = this;
    if (held === undefined) return [];
    this.held = undefined;
    const before = this.known ?? 0;
    this.known = held.at;
    const draws: Draw[] = [];
    if (held.gap !== undefined) draws.push({ draw: "gap", ...held.gap });
    if (held.size !== undefined) draws.push({ draw: "size", size: held.size });
    if (held.pieces.length > 0) draws.push({ draw: "reset" });
    held.pieces.forEach((piece, n) => {
      const last = n === held.pieces.length - 1;
      draws.push(this.bytes(piece, false, last ? held.at : Math.min(before, held.at), last));
    });
    // Nothing to draw, and yet what lies before the gap's end is done with once this turn comes.
    if (held.pieces.length === 0) draws.push(this.bytes(new Uint8Array(), false, held.at, false));
    return draws;
  }

  /** Where output goes on, what is held back included. */
  private next(): number {
    return this.held?.at ?? this.known ?? this.start;
  }

  /** Output may go on at `at` without anything being announced: nothing is known yet, or nothing
   * but a last screen is left. */
  private mayStartAt(at: number): boolean {
    return at > this.next() && this.held === undefined && (this.known === undefined || this.ended);
  }

  private hole(at: number): OutputFault {
    return { fault: `output at ${at} where ${this.next()} was next` };
  }

  private bytes(bytes: Uint8Array, replay: boolean, at: number, keyframe: boolean): Draw {
    this.undrawnBytes += bytes.length;
    const launch = this.launch as number;
    return { draw: "bytes", bytes, replay, mark: { launch, at, len: bytes.length, keyframe } };
  }
}
