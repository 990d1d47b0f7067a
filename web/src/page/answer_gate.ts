// Tells a terminal's answers to replayed queries from what a person types. Knows no terminal.
//
// xterm.js reports both with the same event. But it parses a written piece and calls the piece's
// write callback in one synchronous run, while a key, a paste or a mouse report has a run of its
// own. So what is said while a replayed piece is next is held until the run is over: if the piece
// was finished in that run, it was the parser that spoke, and the words are dropped; if not, it
// was a person, and they go out.

/** Runs something when the present synchronous run is over. */
export type AfterRun = (then: () => void) => void;

/** Stands between a terminal and the wire. */
export class AnswerGate {
  private replaying = false;
  private held: string[] = [];

  constructor(
    private readonly send: (text: string) => void,
    private readonly afterRun: AfterRun = (then) => queueMicrotask(then),
  ) {}

  /** The next piece that the terminal parses is a replay. */
  begin(): void {
    this.replaying = true;
  }

  /** That piece was parsed: what was said in this run were its answers. */
  end(): void {
    this.replaying = false;
    this.held = [];
  }

  /** The terminal, or the person at it, says something. */
  said(text: string): void {
    if (!this.replaying) {
      this.send(text);
      return;
    }
    this.held.push(text);
    if (this.held.length === 1) this.afterRun(() => this.release());
  }

  private release(): void {
    const { held } = this;
    this.held = [];
    for (const text of held) this.send(text);
  }
}
