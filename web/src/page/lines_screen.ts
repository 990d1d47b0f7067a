// A session of lines on the page: what the program says and what it is told, line by line. Knows no
// session and no socket.

import type { Draw, Mark } from "../client/index.ts";
import type { Appearance } from "./appearance.ts";
import { h } from "./dom.ts";
import { LineReader } from "./line_reader.ts";
import type { Surface } from "./surface.ts";
import { bytes } from "./words.ts";

/** Lines that can be scrolled back to. */
const LINES_KEPT = 5000;

/** All kept lines together, in characters: a few very long ones must not fill the memory. */
const TEXT_KEPT = 8 * 1024 * 1024;

/** A log that is scrolled up by no more than this follows what comes, in CSS pixels. */
const AT_THE_END = 24;

type Kind = "received" | "sent" | "note";

const SAYS: Record<Kind, string> = { received: "Received", sent: "Sent", note: "Note" };

/** What a lines' screen tells its owner. */
export interface LinesEvents {
  typed: (bytes: Uint8Array) => void;
  drew: (mark: Mark) => void;
}

/** The lines of one session, and a place to write the next. */
export class LinesScreen implements Surface {
  readonly element: HTMLElement;
  private readonly log = h("div", {
    className: "lines",
    tabIndex: 0,
    attributes: { role: "log", "aria-label": "Lines" },
  });
  private readonly unfinished = h("div", { className: "line received unfinished" });
  private readonly next = h("textarea", {
    id: "next-line",
    rows: 2,
    placeholder: "Enter sends, Shift+Enter begins another line",
    spellcheck: false,
    autocomplete: "off",
    attributes: { "aria-label": "A line for the program" },
  });
  private readonly form: HTMLElement;
  private readonly reader = new LineReader();
  private readonly encoder = new TextEncoder();
  private waiting: Draw[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private kept = 0;
  private drives = false;

  constructor(
    private readonly events: LinesEvents,
    appearance: Appearance,
  ) {
    this.next.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.send();
    });
    this.form = h(
      "form",
      {
        className: "next-line",
        hidden: true,
        on: {
          submit: (event: SubmitEvent) => {
            event.preventDefault();
            this.send();
          },
        },
      },
      this.next,
      h("button", { type: "submit", className: "primary" }, "Send"),
    );
    this.element = h("div", { className: "lines-host" }, this.log, this.form);
    this.wear(appearance);
  }

  draw(what: Draw): void {
    this.waiting.push(what);
    // All that came in one go is laid out once. Not with the next frame: a hidden page has none,
    // and what was shown is acknowledged there, too.
    this.timer ??= setTimeout(() => this.drawAll());
  }

  attached(drives: boolean): void {
    this.drives = drives;
    this.form.hidden = !drives;
  }

  ended(): void {
    this.drives = false;
    this.form.hidden = true;
    this.drawAll();
    this.following(() => this.breakOff());
  }

  wear(appearance: Appearance): void {
    this.log.style.fontSize = `${appearance.fontSize}px`;
  }

  focus(): void {
    (this.drives ? this.next : this.log).focus();
  }

  dispose(): void {
    clearTimeout(this.timer);
  }

  private send(): void {
    const text = this.next.value.replace(/\n$/, "");
    if (text === "" || !this.drives) return;
    this.next.value = "";
    this.following(() => {
      for (const line of text.split("\n")) this.add("sent", line);
    });
    this.log.scrollTop = this.log.scrollHeight;
    this.events.typed(this.encoder.encode(`${text}\n`));
  }

  private drawAll(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { waiting } = this;
    this.waiting = [];
    this.following(() => {
      for (const what of waiting) this.drawOne(what);
    });
    for (const what of waiting) if (what.draw === "bytes") this.events.drew(what.mark);
  }

  private drawOne(what: Draw): void {
    switch (what.draw) {
      case "bytes": {
        const { lines, unfinished } = this.reader.take(what.bytes);
        for (const line of lines) this.add("received", line);
        this.unfinished.textContent = unfinished;
        if (unfinished === "") this.unfinished.remove();
        else this.log.append(this.unfinished);
        return;
      }
      case "gap":
        this.breakOff();
        this.add("note", `${bytes(what.to - what.from)} are missing here.`);
        return;
      case "reset":
        this.reader.breakOff();
        this.log.replaceChildren();
        this.kept = 0;
        return;
      case "size":
      case "live":
        return;
    }
  }

  private breakOff(): void {
    const begun = this.reader.breakOff();
    this.unfinished.remove();
    if (begun !== undefined) this.add("received", begun);
  }

  private add(kind: Kind, text: string): void {
    const line = h(
      "div",
      { className: `line ${kind}` },
      h("span", { className: "unseen" }, `${SAYS[kind]}: `),
      text,
    );
    if (this.unfinished.isConnected) this.unfinished.before(line);
    else this.log.append(line);
    this.kept += text.length;
    while (this.log.childElementCount > LINES_KEPT || this.kept > TEXT_KEPT) {
      const oldest = this.log.firstElementChild;
      if (oldest === null || oldest === line || oldest === this.unfinished) return;
      this.kept -= oldest.lastChild?.textContent?.length ?? 0;
      oldest.remove();
    }
  }

  /** Whoever reads the end goes on reading the end; whoever has scrolled up is left alone. */
  private following(change: () => void): void {
    const { log } = this;
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight <= AT_THE_END;
    change();
    if (follows) log.scrollTop = log.scrollHeight;
  }
}
