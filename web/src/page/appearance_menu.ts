// The little panel in which a person chooses theme, font size and renderer.

import { type Appearance, FONT_SIZE_MAX, FONT_SIZE_MIN, legalFontSize } from "./appearance.ts";
import { button, h } from "./dom.ts";
import { menu } from "./menu.ts";

/** A button with its panel; `changed` gets each new choice at once. */
export function appearanceMenu(now: Appearance, changed: (next: Appearance) => void): HTMLElement {
  let appearance = now;
  const set = (part: Partial<Appearance>) => {
    appearance = { ...appearance, ...part };
    size.textContent = `${appearance.fontSize}`;
    changed(appearance);
  };
  const size = h("output", { attributes: { "aria-label": "Font size" } }, `${now.fontSize}`);
  const step = (label: string, sign: string, by: number) => {
    const one = button(
      sign,
      () => set({ fontSize: legalFontSize(appearance.fontSize + by) }),
      "icon",
    );
    one.setAttribute("aria-label", label);
    return one;
  };
  const theme = h(
    "select",
    { id: "theme" },
    h("option", { value: "system" }, "As the system"),
    h("option", { value: "dark" }, "Dark"),
    h("option", { value: "light" }, "Light"),
    h("option", { value: "contrast" }, "High contrast"),
  );
  theme.value = now.theme;
  theme.addEventListener("change", () => set({ theme: theme.value as Appearance["theme"] }));
  const box = (label: string, checked: boolean, choose: (yes: boolean) => void) => {
    const input = h("input", { type: "checkbox", checked });
    input.addEventListener("change", () => choose(input.checked));
    return h("label", { className: "check" }, input, label);
  };
  const content = [
    h("label", { htmlFor: "theme" }, "Theme"),
    theme,
    h(
      "div",
      {
        className: "row spread",
        attributes: {
          role: "group",
          "aria-label": `Font size, ${FONT_SIZE_MIN} to ${FONT_SIZE_MAX}`,
        },
      },
      h("span", {}, "Font size"),
      h(
        "span",
        { className: "row" },
        step("Smaller font", "−", -1),
        size,
        step("Larger font", "+", 1),
      ),
    ),
    box("Draw with WebGL where there is one", now.renderer === "auto", (yes) =>
      set({ renderer: yes ? "auto" : "dom" }),
    ),
    box("Support a screen reader", now.screenReader, (yes) => set({ screenReader: yes })),
  ];
  return menu("Appearance", "appearance-panel", content, theme).element;
}
