// Output as lines: bytes in, text out, cut where the program ended its lines. Knows no element.

/** A line that grows beyond this is shown in pieces, in characters. */
export const LINE_MAX = 1024 * 1024;

/** What is new. */
export interface Read {
  /** Lines that are whole now, without their ends. */
  lines: string[];
  /** The beginning of the next one. */
  unfinished: string;
}

/** Reads one launch's output. */
export class LineReader {
  private decoder = new TextDecoder();
  private rest = "";

  /** Takes more output. What is no UTF-8 is shown as U+FFFD. */
  take(bytes: Uint8Array): Read {
    const [first = "", ...more] = this.decoder.decode(bytes, { stream: true }).split("\n");
    const lines: string[] = [];
    this.rest += first;
    for (const next of more) {
      lines.push(this.rest.endsWith("\r") ? this.rest.slice(0, -1) : this.rest);
      this.rest = next;
    }
    if (this.rest.length > LINE_MAX) {
      lines.push(this.rest);
      this.rest = "";
    }
    return { lines, unfinished: this.rest };
  }

  /** Output goes on elsewhere, or has ended: what was begun is a line of its own. */
  breakOff(): string | undefined {
    const rest = this.rest + this.decoder.decode();
    this.rest = "";
    this.decoder = new TextDecoder();
    return rest === "" ? undefined : rest;
  }
}
