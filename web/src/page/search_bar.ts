// The box with which a person searches in what the terminal still has.

import { button, h } from "./dom.ts";
import type { Screen } from "./screen.ts";

/** Makes the box; `open` shows it and gives it the focus. */
export function searchBar(screen: Screen): { element: HTMLElement; open: () => void } {
  const field = h("input", {
    type: "search",
    placeholder: "Search the terminal",
    spellcheck: false,
    attributes: { "aria-label": "Search the terminal" },
  });
  const result = h("span", { className: "hint", attributes: { role: "status" } });
  const find = (direction: "next" | "previous") => {
    if (field.value === "") {
      screen.endSearch();
      result.textContent = "";
      return;
    }
    if (!screen.find(field.value, direction)) result.textContent = "Not found";
  };
  screen.onFound((which, count) => {
    if (field.value === "" || element.hidden) return;
    if (count === 0) result.textContent = "Not found";
    else result.textContent = which > 0 ? `${which} of ${count}` : `More than ${count}`;
  });
  const close = () => {
    element.hidden = true;
    screen.endSearch();
    screen.focus();
  };
  field.addEventListener("input", () => find("previous"));
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") find(event.shiftKey ? "next" : "previous");
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
  const icon = (label: string, sign: string, click: () => void) => {
    const one = button(sign, click, "icon");
    one.setAttribute("aria-label", label);
    one.title = label;
    return one;
  };
  const element = h(
    "div",
    { className: "search", hidden: true, attributes: { role: "search" } },
    field,
    result,
    icon("Earlier match", "↑", () => find("previous")),
    icon("Later match", "↓", () => find("next")),
    icon("Close search", "✕", close),
  );
  return {
    element,
    open: () => {
      element.hidden = false;
      field.focus();
      field.select();
    },
  };
}
