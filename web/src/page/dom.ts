// Elements in one expression. Text is always text: nothing here parses HTML.

type Child = Node | string | undefined | false;

type Properties<E> = Partial<Omit<E, "style" | "attributes">> & {
  /** Attributes that have no property of the same name (`aria-live`, `for`, …). */
  attributes?: Record<string, string>;
  on?: { [K in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[K]) => void };
};

/** Makes an element. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { attributes = {}, on = {}, ...rest } = properties;
  Object.assign(element, rest);
  for (const [name, value] of Object.entries<string>(attributes)) element.setAttribute(name, value);
  for (const [name, listener] of Object.entries(on)) {
    element.addEventListener(name, listener as EventListener);
  }
  for (const child of children) if (child !== undefined && child !== false) element.append(child);
  return element;
}

/** A button; `look` is a class of `app.css`. */
export function button(label: string, click: () => void, look = ""): HTMLButtonElement {
  return h("button", { type: "button", className: look, on: { click } }, label);
}

/** Asks before something that cannot be undone. A key that was on its way elsewhere cancels. */
export function confirmed(question: string, detail: string, yes: string): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = h("dialog", { attributes: { "aria-labelledby": "dialog-question" } });
    const leave = (answer: string) => () => dialog.close(answer);
    const cancel = button("Cancel", leave(""));
    dialog.append(
      h("h2", { id: "dialog-question" }, question),
      h("p", {}, detail),
      h("div", { className: "row end" }, cancel, button(yes, leave("yes"), "danger")),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
    cancel.focus();
  });
}
