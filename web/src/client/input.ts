// One input stream: what was typed and is not applied yet, by offset. Knows no socket and no
// launch; its owner says when the stream begins anew.

import { INPUT_FRAME_MAX, INPUT_KEPT_MAX, INPUT_UNAPPLIED_MAX } from "./limits.ts";

/** What the gateway holds this client to. */
export interface InputLimits {
  /** Largest payload of a frame, in bytes. */
  frame: number;
  /** Sent and not applied, in bytes. */
  unapplied: number;
}

/** A piece to send. */
export interface InputPiece {
  offset: number;
  bytes: Uint8Array;
}

/** Bytes in the order in which they were typed; `applied` ≤ `sent` ≤ `end`. */
export class Input {
  private pieces: Uint8Array[] = [];
  private appliedTo = 0;
  private sentTo = 0;
  private endsAt = 0;
  /** All before this was sent at least once, on whatever connection. */
  private onceSentTo = 0;
  private limits: InputLimits = { frame: INPUT_FRAME_MAX, unapplied: INPUT_UNAPPLIED_MAX };

  /** Bytes that are not applied. */
  get waiting(): number {
    return this.endsAt - this.appliedTo;
  }

  /** Bytes that were never sent. */
  get neverSent(): number {
    return this.endsAt - this.onceSentTo;
  }

  /** Takes what was typed; refuses it whole where too much is waiting. */
  push(bytes: Uint8Array): boolean {
    if (bytes.length === 0) return true;
    if (this.waiting + bytes.length > INPUT_KEPT_MAX) return false;
    const last = this.pieces.at(-1);
    // A held key makes many tiny pieces; together they stay cheap to walk.
    if (last !== undefined && last.length + bytes.length <= 1024) {
      const joined = new Uint8Array(last.length + bytes.length);
      joined.set(last);
      joined.set(bytes, last.length);
      this.pieces[this.pieces.length - 1] = joined;
    } else {
      this.pieces.push(bytes.slice());
    }
    this.endsAt += bytes.length;
    return true;
  }

  /** All input before `offset` was applied. False where that was never sent. */
  applied(offset: number): boolean {
    if (offset > this.sentTo) return false;
    let gone = offset - this.appliedTo;
    if (gone <= 0) return true;
    this.appliedTo = offset;
    while (gone > 0) {
      const first = this.pieces[0] as Uint8Array;
      if (first.length > gone) {
        this.pieces[0] = first.subarray(gone);
        return true;
      }
      gone -= first.length;
      this.pieces.shift();
    }
    return true;
  }

  /** A new connection of the same launch: what was not applied is sent again, from `applied` on.
   * False where `applied` is not a place that this stream can go on from. */
  resume(applied: number, limits: InputLimits): boolean {
    this.limits = limits;
    if (applied < this.appliedTo || !this.applied(applied)) return false;
    this.sentTo = applied;
    return true;
  }

  /** Another launch, or another stream: nothing of the old one is sent again. */
  restart(at: number): void {
    this.pieces = [];
    this.appliedTo = at;
    this.sentTo = at;
    this.endsAt = at;
    this.onceSentTo = at;
  }

  /** The next piece that may be sent now; it counts as sent. */
  next(): InputPiece | undefined {
    const room = this.appliedTo + this.limits.unapplied - this.sentTo;
    const most = Math.min(this.limits.frame, room, this.endsAt - this.sentTo);
    if (most <= 0) return undefined;
    const bytes = new Uint8Array(most);
    let at = this.appliedTo;
    let filled = 0;
    for (const piece of this.pieces) {
      const from = this.sentTo + filled - at;
      if (from < piece.length) {
        const part = piece.subarray(from, from + most - filled);
        bytes.set(part, filled);
        filled += part.length;
        if (filled === most) break;
      }
      at += piece.length;
    }
    const offset = this.sentTo;
    this.sentTo += most;
    this.onceSentTo = Math.max(this.onceSentTo, this.sentTo);
    return { offset, bytes };
  }
}
