// Lets xterm.js live under `style-src 'self'`: it makes `<style>` elements and `style` attributes,
// both of which that policy forbids, though it allows the same rules and properties through the
// CSS object model. Knows nothing of terminals.

/** Makes `<style>` elements constructed style sheets, and `style` attributes of spans CSSOM
 * declarations. Once per page, before the first terminal. */
export function installConstructedStyles(page: Document): void {
  const createElement = page.createElement.bind(page);
  page.createElement = ((tag: string, options?: ElementCreationOptions) =>
    tag === "style"
      ? constructed(page, createElement("template"))
      : createElement(tag, options)) as typeof page.createElement;

  const setAttribute = HTMLSpanElement.prototype.setAttribute;
  HTMLSpanElement.prototype.setAttribute = function (this: HTMLSpanElement, name, value) {
    if (name === "style") this.style.cssText = value;
    else setAttribute.call(this, name, value);
  };
}

/** What stands for a `<style>` element: inert and empty, as even an empty one is a breach of the
 * policy. What would be its text is a sheet of the page until it is removed. */
function constructed(page: Document, element: HTMLTemplateElement): HTMLTemplateElement {
  const sheet = new CSSStyleSheet();
  let text = "";
  Object.defineProperty(element, "textContent", {
    get: () => text,
    set: (rules: string) => {
      text = rules;
      sheet.replaceSync(rules);
      if (!page.adoptedStyleSheets.includes(sheet)) page.adoptedStyleSheets.push(sheet);
    },
  });
  const remove = element.remove.bind(element);
  element.remove = () => {
    page.adoptedStyleSheets = page.adoptedStyleSheets.filter((one) => one !== sheet);
    remove();
  };
  return element;
}
