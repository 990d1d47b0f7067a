// The terminal on the page: xterm.js with its addons, fed in order, its size fitted or followed.
// Knows no session and no socket.

import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { Unicode11Addon } from "@xterm/addon-unicode11";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { Terminal } from "@xterm/xterm";
import { type Draw, legalSize, type Mark, type Size } from "../client/index.ts";
import { AnswerGate } from "./answer_gate.ts";
import {
  type Appearance,
  FOUND,
  TERMINAL_FONT,
  THEMES,
  type ThemeName,
  themeOf,
} from "./appearance.ts";
import { lineHeight } from "./line_height.ts";
import type { Surface } from "./surface.ts";
import type { TouchKey, TouchKeys } from "./touch_keys.ts";

/** Clears an unfinished character and sequence, then the whole terminal (CAN, RIS), in order with
 * what is written before and after. */
const FULL_RESET = Uint8Array.of(0x18, 0x1b, 0x63);

/** Lines that can be scrolled back to. */
const SCROLLBACK_LINES = 10_000;

/** Smallest font that an observer's view shrinks to, in CSS pixels. */
const FONT_SIZE_SMALLEST = 6;

/** What a screen tells its owner. */
export interface ScreenEvents {
  typed: (bytes: Uint8Array) => void;
  /** What is about to be typed, as it is to be sent. */
  typing: (text: string) => string;
  drew: (mark: Mark) => void;
  resized: (size: Size) => void;
  titled: (title: string) => void;
  /** Ctrl+Shift+F was pressed. */
  searchWanted: () => void;
  /** The pointer is over a link whose text need not say where it leads; undefined: it has left. */
  pointedAt: (link: string | undefined) => void;
  /** Such a link was clicked. */
  linkWanted: (link: URL) => void;
}

/** A terminal in an element. */
export class Screen implements Surface {
  private readonly terminal: Terminal;
  private readonly fit = new FitAddon();
  private readonly finder = new SearchAddon();
  private readonly gate: AnswerGate;
  private readonly watcher: ResizeObserver;
  private webgl: WebglAddon | undefined;
  private fitting: number | undefined;
  private fits = true;
  private replaysSizes = false;
  private fontSize: number;
  private theme: ThemeName = "dark";
  private searching = false;

  constructor(
    private readonly host: HTMLElement,
    private readonly events: ScreenEvents,
    appearance: Appearance,
  ) {
    this.fontSize = appearance.fontSize;
    this.terminal = new Terminal({
      allowProposedApi: true,
      cursorBlink: true,
      fontFamily: TERMINAL_FONT,
      fontSize: appearance.fontSize,
      linkHandler: {
        activate: (_, link) => {
          const url = httpLink(link);
          if (url !== undefined) events.linkWanted(url);
        },
        hover: (_, link) => events.pointedAt(link),
        leave: () => events.pointedAt(undefined),
        allowNonHttpProtocols: false,
      },
      rightClickSelectsWord: false,
      scrollback: SCROLLBACK_LINES,
    });
    const encoder = new TextEncoder();
    this.gate = new AnswerGate((text) => events.typed(encoder.encode(text)));
    this.terminal.loadAddon(this.fit);
    this.terminal.loadAddon(this.finder);
    this.terminal.loadAddon(new Unicode11Addon());
    this.terminal.unicode.activeVersion = "11";
    // These links are what the text says.
    this.terminal.loadAddon(
      new WebLinksAddon((_, link) => {
        const url = httpLink(link);
        if (url !== undefined) openLink(url);
      }),
    );
    this.terminal.onData((text) => this.gate.said(events.typing(text)));
    // Mouse reports of the oldest kind are bytes, not text; only a person makes them.
    this.terminal.onBinary((text) =>
      events.typed(Uint8Array.from(text, (byte) => byte.charCodeAt(0) & 0xff)),
    );
    this.terminal.onTitleChange((title) => events.titled(title));
    this.terminal.attachCustomKeyEventHandler((event) => this.key(event));
    this.terminal.open(host);
    this.wear(appearance);
    this.watcher = new ResizeObserver(() => this.fitSoon());
    this.watcher.observe(host);
    this.refit();
  }

  /** The terminal's size now. */
  get size(): Size {
    return legalSize(this.terminal.cols, this.terminal.rows);
  }

  /** The next thing on the screen, after all before it. */
  draw(what: Draw): void {
    switch (what.draw) {
      case "bytes": {
        const { bytes, replay, mark } = what;
        if (replay) this.inOrder(() => this.gate.begin());
        this.terminal.write(bytes, () => {
          if (replay) this.gate.end();
          this.events.drew(mark);
        });
        return;
      }
      case "reset":
        this.terminal.write(FULL_RESET);
        return;
      case "size":
        this.inOrder(() => {
          if (!this.fits || this.replaysSizes) this.resize(what.size);
          if (!this.fits) this.shrink();
        });
        return;
      case "live":
        this.inOrder(() => {
          this.replaysSizes = false;
          this.refit();
        });
        return;
      case "gap":
        // For the owner to tell; the keyframe that follows draws the screen anew.
        return;
    }
  }

  /** An attachment begins. A driver's window decides its size once the past is replayed; an
   * observer follows the driver's. */
  attached(drives: boolean): void {
    this.fits = drives;
    this.host.classList.toggle("scrolls", !drives);
    this.letters(this.fontSize);
    if (!drives) this.shrink();
    this.replaysSizes = true;
    this.terminal.options.disableStdin = !drives;
    this.terminal.options.cursorBlink = drives;
  }

  /** Nothing more will come and nothing may be typed. */
  ended(): void {
    this.terminal.options.disableStdin = true;
    this.terminal.options.cursorBlink = false;
  }

  wear(appearance: Appearance): void {
    const { options } = this.terminal;
    this.theme = themeOf(appearance, window);
    this.colour();
    // Programs choose pairs of colours that nobody can read; who asked for contrast gets it (WCAG
    // 2, level AAA).
    options.minimumContrastRatio = this.theme === "contrast" ? 7 : 1;
    this.fontSize = appearance.fontSize;
    this.letters(appearance.fontSize);
    options.screenReaderMode = appearance.screenReader;
    if (appearance.renderer === "auto") this.useWebgl();
    else this.dropWebgl();
    this.fitSoon();
  }

  focus(): void {
    this.terminal.focus();
  }

  /** Finds the next or previous match; false where there is none. */
  find(text: string, direction: "next" | "previous"): boolean {
    if (!this.searching) {
      this.searching = true;
      this.colour();
    }
    const { all, current } = FOUND[this.theme];
    const options = {
      decorations: {
        matchBackground: all,
        matchOverviewRuler: current,
        activeMatchBackground: current,
        activeMatchColorOverviewRuler: current,
      },
    };
    return direction === "next"
      ? this.finder.findNext(text, options)
      : this.finder.findPrevious(text, options);
  }

  /** Told which of how many matches a person has got to, from 1 on; 0 where there are too many to
   * say. */
  onFound(listener: (which: number, count: number) => void): void {
    this.finder.onDidChangeResults(({ resultIndex, resultCount }) =>
      listener(resultIndex + 1, resultCount),
    );
  }

  endSearch(): void {
    this.searching = false;
    this.colour();
    this.finder.clearDecorations();
    this.terminal.clearSelection();
  }

  /** What is selected. */
  get selection(): string {
    return this.terminal.getSelection();
  }

  /** As if it had come from the keyboard, bracketed where the program asks for that. */
  paste(text: string): void {
    this.terminal.paste(text);
  }

  /** A key that the machine's own keyboard lacks. */
  press(key: TouchKey, keys: TouchKeys): void {
    this.terminal.input(keys.key(key, this.terminal.modes.applicationCursorKeysMode));
  }

  onSelection(listener: () => void): void {
    this.terminal.onSelectionChange(listener);
  }

  dispose(): void {
    this.watcher.disconnect();
    if (this.fitting !== undefined) cancelAnimationFrame(this.fitting);
    this.dropWebgl();
    this.terminal.dispose();
  }

  private inOrder(then: () => void): void {
    this.terminal.write("", then);
  }

  private resize(size: Size): void {
    const { cols, rows } = this.terminal;
    if (cols !== size.cols || rows !== size.rows) this.terminal.resize(size.cols, size.rows);
  }

  private colour(): void {
    const { current, currentText } = FOUND[this.theme];
    // The match that a person has got to is selected, and a selection is painted over all else.
    const selection = {
      selectionBackground: current,
      selectionInactiveBackground: current,
      selectionForeground: currentText,
    };
    this.terminal.options.theme = { ...THEMES[this.theme], ...(this.searching ? selection : {}) };
  }

  /** Text of this size, and rows that have room for it. */
  private letters(fontSize: number): void {
    const { options } = this.terminal;
    options.fontSize = fontSize;
    options.lineHeight = lineHeight(TERMINAL_FONT, fontSize);
  }

  private fitSoon(): void {
    if (this.fitting !== undefined) return;
    this.fitting = requestAnimationFrame(() => {
      this.fitting = undefined;
      if (!this.fits) this.shrink();
      else if (!this.replaysSizes) this.refit();
    });
  }

  /** A driver's terminal may be larger than an observer's window: a smaller font shows all of it,
   * down to a size that can be read at all; beyond that the window scrolls. */
  private shrink(): void {
    const { cols, rows } = this.terminal;
    for (let size = this.fontSize; size >= FONT_SIZE_SMALLEST; size--) {
      this.letters(size);
      // Measured, not computed: a cell's edges are rounded to the screen's pixels.
      const room = this.fit.proposeDimensions();
      if (room === undefined || (room.cols >= cols && room.rows >= rows)) break;
    }
    this.host.scrollTo(0, 0);
  }

  private refit(): void {
    if (!this.fits || this.host.clientWidth === 0 || this.host.clientHeight === 0) return;
    const proposed = this.fit.proposeDimensions();
    if (proposed === undefined) return;
    const size = legalSize(proposed.cols, proposed.rows);
    this.resize(size);
    this.events.resized(size);
  }

  private key(event: KeyboardEvent): boolean {
    if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey || event.altKey) return true;
    if (event.code === "KeyC" && this.terminal.hasSelection()) {
      event.preventDefault();
      void navigator.clipboard?.writeText(this.selection);
      return false;
    }
    if (event.code === "KeyF") {
      event.preventDefault();
      this.events.searchWanted();
      return false;
    }
    // Ctrl+Shift+V stays the browser's: its paste event needs no permission.
    return event.code !== "KeyV";
  }

  private useWebgl(): void {
    if (this.webgl !== undefined) return;
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => this.dropWebgl());
      this.terminal.loadAddon(webgl);
      this.webgl = webgl;
    } catch {
      // No WebGL here: plain elements draw the same, slower.
    }
  }

  private dropWebgl(): void {
    this.webgl?.dispose();
    this.webgl = undefined;
  }
}

/** Opens a link: a page of its own that knows nothing of this one. */
export function openLink(link: URL): void {
  window.open(link, "_blank", "noopener,noreferrer");
}

/** A link that leads to a web page; undefined where it leads anywhere else. */
function httpLink(link: string): URL | undefined {
  try {
    const url = new URL(link);
    return url.protocol === "https:" || url.protocol === "http:" ? url : undefined;
  } catch {
    return undefined;
  }
}
