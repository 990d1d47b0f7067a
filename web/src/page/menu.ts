// A button with a panel under it. Knows nothing of what the panel is for.

import { button, h } from "./dom.ts";

/** A menu in the page. */
export interface Menu {
  element: HTMLElement;
  /** Puts the panel away; the focus goes back to the button. */
  close: () => void;
}

/** A button that shows and hides `content`, in a panel of this `id`; `first` gets the focus. */
export function menu(
  label: string,
  id: string,
  content: HTMLElement[],
  first: HTMLElement | undefined,
): Menu {
  const panel = h("div", { className: "menu", hidden: true, id }, ...content);
  const opener = button(label, () => show(panel.hidden === true));
  opener.setAttribute("aria-expanded", "false");
  opener.setAttribute("aria-controls", id);
  let elsewhere = new AbortController();
  const show = (yes: boolean) => {
    panel.hidden = !yes;
    opener.setAttribute("aria-expanded", `${yes}`);
    elsewhere.abort();
    if (!yes) return;
    first?.focus();
    // What cannot have the focus takes it from nobody: a pointer there is heard of only so.
    elsewhere = new AbortController();
    const { signal } = elsewhere;
    const leave = (event: Event) => {
      if (!(event.target instanceof Node && element.contains(event.target))) show(false);
    };
    document.addEventListener("pointerdown", leave, { capture: true, signal });
  };
  const close = () => {
    show(false);
    opener.focus();
  };
  const element = h("div", { className: "menu-host" }, opener, panel);
  element.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !panel.hidden) close();
  });
  element.addEventListener("focusout", (event) => {
    if (event.relatedTarget instanceof Node && !element.contains(event.relatedTarget)) show(false);
  });
  return { element, close };
}
