// The keys that the keyboard of a touch screen lacks, as the bytes that a terminal sends for them.
// Knows no element.

export type Arrow = "up" | "down" | "left" | "right";
export type TouchKey = "escape" | "tab" | Arrow;

const ARROWS: Record<Arrow, string> = { up: "A", down: "B", right: "C", left: "D" };

/** A keyboard's missing part: Ctrl holds until the next key. */
export class TouchKeys {
  private held = false;
  /** Told when Ctrl is held, and when it is not any more. */
  ctrlChanged: (held: boolean) => void = () => {};

  /** Ctrl was touched: it holds, or not after all. */
  ctrl(): void {
    this.hold(!this.held);
  }

  /** What a key sends; a program may have asked for arrows of its own (`application`). */
  key(key: TouchKey, application: boolean): string {
    const { held } = this;
    this.hold(false);
    if (key === "escape") return "\x1b";
    if (key === "tab") return "\t";
    if (held) return `\x1b[1;5${ARROWS[key]}`;
    return `\x1b${application ? "O" : "["}${ARROWS[key]}`;
  }

  /** What was typed on the other keyboard, with Ctrl where that holds. */
  typed(text: string): string {
    // More than one character is a paste, or the terminal's answer to a query.
    if (!this.held || text.length !== 1) return text;
    this.hold(false);
    return control(text) ?? text;
  }

  private hold(yes: boolean): void {
    if (this.held === yes) return;
    this.held = yes;
    this.ctrlChanged(yes);
  }
}

/** The control character of a key; undefined where it has none. */
function control(key: string): string | undefined {
  if (key === " ") return "\0";
  if (key === "?") return "\x7f";
  const code = key.toUpperCase().charCodeAt(0);
  return code >= 0x40 && code <= 0x5f ? String.fromCharCode(code & 0x1f) : undefined;
}
