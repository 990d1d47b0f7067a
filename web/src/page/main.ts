// The page's start: who is signed in, and which view the address asks for.

import "./app.css";
import "@xterm/xterm/css/xterm.css";
import { Api, isSessionId, type Role, type Wish } from "../client/index.ts";
import { type Appearance, loadAppearance, saveAppearance, themeOf } from "./appearance.ts";
import { appearanceMenu } from "./appearance_menu.ts";
import { installConstructedStyles } from "./constructed_styles.ts";
import { button, h } from "./dom.ts";
import { terminalSize } from "./measure.ts";
import { sessionsView } from "./sessions_view.ts";
import { SignIn, takeCode } from "./sign_in.ts";
import { codeTrouble, signInView, signingInView } from "./sign_in_view.ts";
import { TerminalView } from "./terminal_view.ts";

/** What the address asks for: `#/s/ses_…`, `#/s/ses_…/watch`, or the list. */
type Route = { session: string; role: Role } | "list";

class Page {
  private readonly api: Api;
  private readonly signIn: SignIn;
  private appearance: Appearance = loadAppearance(localStorage);
  private leaveView = () => {};
  private terminal: TerminalView | undefined;
  /** The session that was started on this page and is to be shown next. */
  private fresh: string | undefined;

  constructor(private readonly host: HTMLElement) {
    this.api = new Api({
      base: "",
      token: () => this.signIn.token,
      fetch: (input, init) => fetch(input, init),
    });
    this.signIn = new SignIn(sessionStorage, () => this.api);
    this.signIn.changed = (token, why) => {
      if (token === undefined) this.askToSignIn(why);
      else if (this.terminal !== undefined) this.terminal.renewed(token);
      else this.show();
    };
    window.addEventListener("hashchange", () => {
      const code = takeCode(window);
      if (code !== undefined) this.tradeCode(code);
      else this.show();
    });
    for (const query of ["(prefers-color-scheme: light)", "(prefers-contrast: more)"]) {
      window.matchMedia(query).addEventListener("change", () => this.wear(this.appearance));
    }
    this.wear(this.appearance);
  }

  begin(): void {
    const code = takeCode(window);
    if (code === undefined) this.show();
    else this.tradeCode(code);
  }

  private tradeCode(code: string): void {
    this.clear();
    this.leaveView = signingInView(this.host, () => this.show());
    this.signIn.withCode(code).catch((error: unknown) => {
      // Somebody who is signed in already needs no code.
      if (this.signIn.token !== undefined) this.show();
      else this.askToSignIn(codeTrouble(error));
    });
  }

  private show(): void {
    if (this.signIn.token === undefined) {
      this.askToSignIn();
      return;
    }
    this.clear();
    const route = readRoute(location.hash);
    if (route === "list") this.showList();
    else this.showTerminal(route.session, route.role);
  }

  private showList(): void {
    this.host.append(
      h(
        "header",
        { className: "bar top" },
        h(
          "span",
          { className: "brand small" },
          h("span", { className: "mark", attributes: { "aria-hidden": "true" } }, "›_"),
          "Shellgate",
        ),
        h(
          "div",
          { className: "row acts" },
          h("span", { className: "hint user" }, this.signIn.user),
          this.menu(),
          button("Sign out", () => this.signIn.out()),
        ),
      ),
    );
    this.leaveView = sessionsView(this.host, {
      api: this.api,
      open: (id) => this.go({ session: id, role: "driver" }),
      observe: (id) => this.go({ session: id, role: "observer" }),
      startNew: (wish) => this.startNew(wish),
      signedOut: (code) => this.signIn.refused(code),
    });
  }

  private showTerminal(id: string, role: Role): void {
    const fresh = this.fresh === id;
    this.fresh = undefined;
    const address = new URL(`/v1/sessions/${id}/attach`, location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    address.hash = "";
    const view = new TerminalView(
      this.host,
      {
        api: this.api,
        id,
        role,
        fresh,
        appearance: this.appearance,
        renew: () => this.signIn.renew(),
        address: address.href,
        back: () => this.go("list"),
        became: (next) => history.replaceState(null, "", writeRoute({ session: id, role: next })),
        startNew: (wish) => this.startNew(wish),
        signedOut: () => this.signIn.refused(),
      },
      this.menu(),
    );
    this.terminal = view;
    this.leaveView = () => {
      this.terminal = undefined;
      view.leave();
    };
  }

  private async startNew(wish: Wish): Promise<void> {
    const { leaveView } = this;
    const size = terminalSize(this.host, this.appearance);
    const { session, fresh } = await this.api.create({ ...wish, size });
    // Who has gone elsewhere meanwhile finds it in the list.
    if (leaveView !== this.leaveView) return;
    if (fresh) this.fresh = session.id;
    this.go({ session: session.id, role: "driver" });
  }

  private go(route: Route): void {
    if (location.hash === writeRoute(route)) this.show();
    else location.hash = writeRoute(route);
  }

  private askToSignIn(trouble?: string): void {
    this.clear();
    this.leaveView = signInView(this.host, this.signIn, trouble);
  }

  private clear(): void {
    this.leaveView();
    this.leaveView = () => {};
    this.host.replaceChildren();
  }

  private menu(): HTMLElement {
    return appearanceMenu(this.appearance, (next) => {
      saveAppearance(localStorage, next);
      this.wear(next);
    });
  }

  private wear(appearance: Appearance): void {
    this.appearance = appearance;
    document.documentElement.dataset.theme = themeOf(appearance, window);
    this.terminal?.wear(appearance);
  }
}

function readRoute(hash: string): Route {
  const [, place, session, how] = hash.split("/");
  if (place !== "s" || session === undefined || !isSessionId(session)) return "list";
  return { session, role: how === "watch" ? "observer" : "driver" };
}

function writeRoute(route: Route): string {
  if (route === "list") return "#/";
  return `#/s/${route.session}${route.role === "observer" ? "/watch" : ""}`;
}

installConstructedStyles(document);
const host = document.getElementById("app");
if (host !== null) new Page(host).begin();
