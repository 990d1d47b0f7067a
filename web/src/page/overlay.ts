// What lies over a terminal: one card at a time, or none. Knows no card's meaning.

import { h } from "./dom.ts";

/** The place over a terminal. */
export class Overlay {
  readonly element = h("div", { className: "overlay", hidden: true });
  private leave = () => {};

  /** Shows a card instead of the one before; `leave` ends what runs for it. */
  show(card: HTMLElement, leave: () => void = () => {}): void {
    this.leave();
    this.leave = leave;
    this.element.replaceChildren(card);
    this.element.hidden = false;
    card.querySelector<HTMLElement>("button.primary:not(:disabled)")?.focus();
  }

  hide(): void {
    this.leave();
    this.leave = () => {};
    this.element.hidden = true;
    this.element.replaceChildren();
  }
}
