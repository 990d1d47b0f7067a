// What lies over a terminal: one card at a time, or none. Knows no card's meaning.

import { h } from "./dom.ts";

/** A card that comes while somebody types takes no keys until none was pressed for so many
 * milliseconds: they were meant for the program. */
export const KEYS_QUIET_MILLIS = 800;

/** The place over a terminal. */
export class Overlay {
  readonly element = h("div", { className: "overlay", hidden: true });
  private leave = () => {};
  private quietUntil = 0;

  constructor() {
    // A browser presses a button at the key's way up, or down: neither reaches it.
    for (const event of ["keydown", "keyup"] as const) {
      this.element.addEventListener(event, (key) => this.swallow(key), { capture: true });
    }
  }

  /** Shows a card instead of the one before; `leave` ends what runs for it. */
  show(card: HTMLElement, leave: () => void = () => {}): void {
    this.leave();
    this.leave = leave;
    this.element.replaceChildren(card);
    this.element.hidden = false;
    this.quietUntil = performance.now() + KEYS_QUIET_MILLIS;
    // Not a button of it: nobody has read yet what it would do.
    card.tabIndex = -1;
    card.focus();
  }

  hide(): void {
    this.leave();
    this.leave = () => {};
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  private swallow(event: Event): void {
    if (performance.now() >= this.quietUntil) return;
    this.quietUntil = performance.now() + KEYS_QUIET_MILLIS;
    event.preventDefault();
    event.stopPropagation();
  }
}
