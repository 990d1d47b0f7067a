// The size of a terminal before there is one, so that a program begins at the size at which it is
// shown. Knows no session.

import type { Size } from "../client/index.ts";
import type { Appearance } from "./appearance.ts";
import { appearanceMenu } from "./appearance_menu.ts";
import { h } from "./dom.ts";
import { keyRow } from "./key_row.ts";
import { Screen } from "./screen.ts";
import { SessionBar } from "./session_bar.ts";
import { TouchKeys } from "./touch_keys.ts";

/** The size that a driver's terminal has on this page now. It is measured, not computed: in a view
 * of the same parts, that is gone before it could be painted. */
export function terminalSize(page: HTMLElement, appearance: Appearance): Size {
  const nothing = () => {};
  const bar = new SessionBar({
    back: nothing,
    copy: nothing,
    paste: nothing,
    search: nothing,
    takeOver: nothing,
    signal: nothing,
    stop: nothing,
    appearanceMenu: appearanceMenu(appearance, nothing),
  });
  bar.becomes("driver");
  const host = h("div", { className: "terminal-host" });
  const view = h(
    "main",
    { className: "terminal-view measured", inert: true },
    bar.element,
    h("div", { className: "stage" }, host),
    keyRow(new TouchKeys(), nothing),
  );
  page.append(view);
  const screen = new Screen(
    host,
    {
      typed: nothing,
      typing: (text) => text,
      drew: nothing,
      resized: nothing,
      titled: nothing,
      searchWanted: nothing,
      pointedAt: nothing,
      linkWanted: nothing,
    },
    appearance,
  );
  const { size } = screen;
  screen.dispose();
  view.remove();
  return size;
}
