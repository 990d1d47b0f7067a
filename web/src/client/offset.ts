// Positions in a stream, and what is left of a message that overlaps what is known. Pure.

/** How a message meets what its receiver has: the first `skip` bytes are known and the rest
 * follows on; or all is known; or bytes are missing between. */
export type Overlap = { skip: number } | "known" | "missing";

/** Lays a message of `len` bytes at `start` against a stream that is known up to `known`. */
export function overlap(known: number, start: number, len: number): Overlap {
  if (start > known) return "missing";
  const skip = known - start;
  if ((skip >= len && len > 0) || skip > len) return "known";
  return { skip };
}
