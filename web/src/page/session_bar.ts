// The bar above a terminal: which session this is, how it stands, and what a person can do. Knows
// no connection and no terminal.

import type { Role, Signal } from "../client/index.ts";
import { button, h } from "./dom.ts";
import { signalMenu } from "./signal_menu.ts";

const NO_NETWORK =
  "This sandbox has no network: nothing inside can reach the outside, or be reached.";

/** What its buttons do. */
export interface SessionBarActs {
  back: () => void;
  copy: () => void;
  paste: () => void;
  search: () => void;
  takeOver: () => void;
  signal: (name: Signal) => void;
  stop: () => void;
  appearanceMenu: HTMLElement;
}

/** The bar of one session. */
export class SessionBar {
  readonly element: HTMLElement;
  private readonly nameText = h("span", { className: "name" });
  private readonly state = h("span", { className: "badge" });
  private readonly latencyText = h("span", {
    className: "hint latency",
    title: "The way to the gateway and back",
  });
  private readonly watchersText = h("span", { className: "hint" });
  private readonly networkText = h(
    "span",
    { className: "hint", title: NO_NETWORK, hidden: true },
    h("span", { attributes: { "aria-hidden": "true" } }, "no network"),
    h("span", { className: "unseen" }, NO_NETWORK),
  );
  private readonly copyButton: HTMLButtonElement;
  private readonly pasteButton: HTMLButtonElement;
  private readonly searchButton: HTMLButtonElement;
  private readonly signals: HTMLElement;
  private readonly takeOverButton: HTMLButtonElement;
  private readonly stopButton: HTMLButtonElement;
  private role: Role = "driver";

  constructor(acts: SessionBarActs) {
    this.copyButton = button("Copy", acts.copy);
    this.copyButton.disabled = true;
    this.pasteButton = button("Paste", acts.paste);
    this.searchButton = button("Search", acts.search);
    this.signals = signalMenu(acts.signal);
    this.takeOverButton = button("Take over", acts.takeOver, "primary");
    this.stopButton = button("Stop", acts.stop, "quiet-danger");
    const { nameText, state, latencyText, watchersText, networkText } = this;
    this.element = h(
      "header",
      { className: "bar" },
      button("‹ Sessions", acts.back, "plain"),
      h("div", { className: "row who" }, nameText, state, networkText, latencyText, watchersText),
      h(
        "div",
        { className: "row acts", attributes: { role: "toolbar", "aria-label": "Session" } },
        this.takeOverButton,
        this.copyButton,
        this.pasteButton,
        this.searchButton,
        acts.appearanceMenu,
        this.signals,
        this.stopButton,
      ),
    );
  }

  name(name: string): void {
    this.nameText.textContent = name;
  }

  badge(look: string, words: string): void {
    this.state.className = `badge ${look}`;
    this.state.textContent = words;
  }

  /** The way to the gateway and back, in milliseconds; undefined while there is none. */
  latency(millis: number | undefined): void {
    this.latencyText.textContent =
      millis === undefined ? "" : `${Math.max(1, Math.round(millis))} ms`;
  }

  /** Nothing but the gateway can be reached from inside. */
  hasNoNetwork(): void {
    this.networkText.hidden = false;
  }

  /** So many observers there are. */
  watchers(count: number): void {
    // An observer knows that it watches itself.
    const others = this.role === "observer" ? count - 1 : count;
    const whom = this.role === "observer" ? "others watching" : "watching";
    this.watchersText.textContent = others > 0 ? `${others} ${whom}` : "";
  }

  /** Something is selected, or nothing is. */
  hasSelection(yes: boolean): void {
    this.copyButton.disabled = !yes;
  }

  becomes(role: Role): void {
    this.role = role;
    const drives = role === "driver";
    this.takeOverButton.hidden = drives;
    this.pasteButton.hidden = !drives;
    this.signals.hidden = !drives;
    this.stopButton.hidden = !drives;
  }

  /** Lines are plain text, which the browser itself copies, pastes and finds. */
  hasNoTerminal(): void {
    for (const one of [this.copyButton, this.pasteButton, this.searchButton]) one.remove();
  }

  /** Nothing can be done in the session from here (any more). */
  ended(): void {
    this.takeOverButton.hidden = true;
    this.pasteButton.hidden = true;
    this.signals.hidden = true;
    this.stopButton.hidden = true;
  }
}
