// A row of keys under the terminal, for touch screens: elsewhere it is not to be seen. Knows no
// connection.

import { button, h } from "./dom.ts";
import type { TouchKey, TouchKeys } from "./touch_keys.ts";

const KEYS: readonly { key: TouchKey; label: string; sign: string }[] = [
  { key: "escape", label: "Escape", sign: "Esc" },
  { key: "tab", label: "Tab", sign: "Tab" },
  { key: "left", label: "Left", sign: "←" },
  { key: "up", label: "Up", sign: "↑" },
  { key: "down", label: "Down", sign: "↓" },
  { key: "right", label: "Right", sign: "→" },
];

/** The row; `press` gets each key but Ctrl. */
export function keyRow(keys: TouchKeys, press: (key: TouchKey) => void): HTMLElement {
  const ctrl = button("Ctrl", () => keys.ctrl());
  ctrl.setAttribute("aria-pressed", "false");
  keys.ctrlChanged = (held) => ctrl.setAttribute("aria-pressed", `${held}`);
  const others = KEYS.map(({ key, label, sign }) => {
    const one = button(sign, () => press(key));
    one.setAttribute("aria-label", label);
    return one;
  });
  const row = h(
    "div",
    { className: "keys", attributes: { role: "toolbar", "aria-label": "Keys" } },
    ctrl,
    ...others,
  );
  // The terminal keeps the focus, and with it the keyboard that lies on the screen.
  for (const event of ["pointerdown", "mousedown"] as const) {
    row.addEventListener(event, (press) => press.preventDefault());
  }
  return row;
}
