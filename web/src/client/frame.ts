// Binary messages of the client leg: `kind: u8` · `offset: u64 BE` · bytes. Knows no socket.

import { INPUT_FRAME_MAX, OFFSET_MAX, OUTPUT_FRAME_MAX } from "./limits.ts";

/** Bytes before a frame's payload. */
export const HEADER_LEN = 9;

/** What a frame carries, by its number on the wire. */
export const Kind = {
  /** Bytes of output, or of input. */
  Data: 0,
  /** Output that a driver had acknowledged before: its queries must not be answered again. */
  Replay: 1,
  /** A piece of a keyframe; all pieces of one have the same offset. */
  Keyframe: 2,
  /** All output before the offset was taken. No bytes. */
  Ack: 3,
  /** All input before the offset was taken by the program's terminal. No bytes. */
  Applied: 4,
} as const;

export type Kind = (typeof Kind)[keyof typeof Kind];

/** One binary message. */
export interface Frame {
  readonly kind: Kind;
  /** Where its first byte lies; for counters, the counter. */
  readonly offset: number;
  readonly payload: Uint8Array;
}

/** Why a binary message is not a frame that may come here. */
export type BadFrame = "short" | "kind" | "direction" | "offset" | "length";

/** A frame, or why it is none. */
export type ParsedFrame = { frame: Frame } | { bad: BadFrame };

/** Parses without copying. Says nothing about who may send it. */
export function parseFrame(message: Uint8Array): ParsedFrame {
  if (message.byteLength < HEADER_LEN) return { bad: "short" };
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  const kind = view.getUint8(0);
  if (kind > Kind.Applied) return { bad: "kind" };
  const offset = view.getUint32(1) * 2 ** 32 + view.getUint32(5);
  const payload = message.subarray(HEADER_LEN);
  // A high word above 2^21 - 1 is beyond 2^53 whatever rounding made of the sum.
  if (view.getUint32(1) > 0x1f_ffff || offset + payload.byteLength > OFFSET_MAX) {
    return { bad: "offset" };
  }
  return { frame: { kind: kind as Kind, offset, payload } };
}

/** Parses a frame on its way to a client: output, a keyframe's piece, or `applied`. */
export function parseToClient(message: Uint8Array): ParsedFrame {
  const parsed = parseFrame(message);
  if ("bad" in parsed) return parsed;
  const { kind, payload } = parsed.frame;
  if (kind === Kind.Ack) return { bad: "direction" };
  const most = kind === Kind.Applied ? 0 : OUTPUT_FRAME_MAX;
  const least = kind === Kind.Applied ? 0 : 1;
  return payload.length < least || payload.length > most ? { bad: "length" } : parsed;
}

/** Parses a frame that a client sent: input, or an acknowledgement. */
export function parseFromClient(message: Uint8Array): ParsedFrame {
  const parsed = parseFrame(message);
  if ("bad" in parsed) return parsed;
  const { kind, payload } = parsed.frame;
  if (kind !== Kind.Data && kind !== Kind.Ack) return { bad: "direction" };
  const most = kind === Kind.Ack ? 0 : INPUT_FRAME_MAX;
  const least = kind === Kind.Ack ? 0 : 1;
  return payload.length < least || payload.length > most ? { bad: "length" } : parsed;
}

/** The frame as one message. */
export function frameToBytes(frame: Frame): Uint8Array<ArrayBuffer> {
  const message = new Uint8Array(HEADER_LEN + frame.payload.byteLength);
  const view = new DataView(message.buffer);
  view.setUint8(0, frame.kind);
  view.setUint32(1, Math.floor(frame.offset / 2 ** 32));
  view.setUint32(5, frame.offset % 2 ** 32);
  message.set(frame.payload, HEADER_LEN);
  return message;
}
