// One session on the page: its terminal or its lines, what goes on around them, and what a person
// can do.

import {
  type Api,
  Connection,
  type ExitStatus,
  type Role,
  randomId,
  type Said,
  type Session,
  type Status,
  type Stopped,
  type Wish,
} from "../client/index.ts";
import type { Appearance } from "./appearance.ts";
import { Banners } from "./banners.ts";
import { button, confirmed, h } from "./dom.ts";
import { keyRow } from "./key_row.ts";
import { LinesScreen } from "./lines_screen.ts";
import { Overlay } from "./overlay.ts";
import { refusalCard } from "./refusal_view.ts";
import { Remarks } from "./remarks.ts";
import { openLink, Screen } from "./screen.ts";
import { searchBar } from "./search_bar.ts";
import { SessionBar } from "./session_bar.ts";
import { StartPanel } from "./start_panel.ts";
import { stoppedCard } from "./stopped_card.ts";
import type { Surface } from "./surface.ts";
import { TouchKeys } from "./touch_keys.ts";
import { exitWords, sessionName } from "./words.ts";

/** A lost connection that comes back within so many milliseconds is not worth a word. */
const QUIET_MILLIS = 400;

/** This page load, as the gateway knows it: never stored, so that two tabs are two clients. */
const CLIENT = randomId();

/** What a terminal view is made of. */
export interface TerminalSettings {
  api: Api;
  id: string;
  role: Role;
  /** It was started for this view, at this view's size: it is shown from its first byte on. */
  fresh: boolean;
  appearance: Appearance;
  renew: () => Promise<string | undefined>;
  /** The address of the session's WebSocket. */
  address: string;
  /** Back to the list. */
  back: () => void;
  /** The same session in another role: the address follows, the view stays. */
  became: (role: Role) => void;
  /** Starts a session and shows it. */
  startNew: (wish: Wish) => Promise<void>;
  signedOut: () => void;
}

/** The view of one session. */
export class TerminalView {
  private readonly connection: Connection;
  private readonly screen: Screen;
  /** What the session is shown on: the terminal, unless it speaks by lines. */
  private surface: Surface;
  private readonly banners = new Banners();
  private readonly remarks = new Remarks(this.banners, () =>
    this.connection.tell({ on: "extend" }),
  );
  private readonly start = new StartPanel();
  private readonly overlay = new Overlay();
  private readonly bar: SessionBar;
  private readonly stage: HTMLElement;
  private readonly touchKeys = new TouchKeys();
  private readonly keys = keyRow(this.touchKeys, (key) => this.screen.press(key, this.touchKeys));
  private readonly link = h("p", { className: "link-hint", hidden: true });
  private readonly leaveListeners = new AbortController();
  private session: Session | undefined;
  private role: Role;
  private appearance: Appearance;
  private everAttached = false;
  /** It had ended when it was opened: its last screen is what there is to show. */
  private shown = false;
  private exit: ExitStatus | undefined;
  private quiet: ReturnType<typeof setTimeout> | undefined;

  constructor(
    host: HTMLElement,
    private readonly settings: TerminalSettings,
    appearanceMenu: HTMLElement,
  ) {
    this.role = settings.role;
    this.appearance = settings.appearance;
    const terminal = h("div", { className: "terminal-host" });
    this.stage = h("div", { className: "stage" }, terminal, this.overlay.element);
    this.bar = new SessionBar({
      back: settings.back,
      copy: () => this.copy(),
      paste: () => void this.paste(),
      search: () => search.open(),
      takeOver: () => void this.takeOver(),
      signal: (name) => {
        this.connection.tell({ on: "signal", name });
        this.surface.focus();
      },
      stop: () => void this.stop(),
      appearanceMenu,
    });
    const main = h("main", { className: "terminal-view" }, this.bar.element, this.stage, this.keys);
    host.append(main);
    this.stage.append(this.start.element, this.link);

    this.screen = new Screen(
      terminal,
      {
        typed: (typed) => this.typed(typed),
        typing: (text) => this.touchKeys.typed(text),
        drew: (mark) => this.connection.tell({ on: "drew", mark }),
        resized: (size) => this.whenReady(() => this.connection.tell({ on: "resized", size })),
        titled: (title) => {
          document.title = title === "" ? "Shellgate" : `${title} – Shellgate`;
        },
        searchWanted: () => search.open(),
        pointedAt: (link) => {
          this.link.hidden = link === undefined;
          this.link.textContent = link ?? "";
        },
        linkWanted: (link) => void this.follow(link),
      },
      settings.appearance,
    );
    this.surface = this.screen;
    const search = searchBar(this.screen);
    // What is said in passing lies over the terminal: a place of its own would take it from the
    // program, and give it back a moment later.
    this.stage.append(h("div", { className: "above" }, this.banners.element, search.element));
    this.screen.onSelection(() => this.bar.hasSelection(this.screen.selection !== ""));

    this.connection = new Connection(
      {
        role: settings.role,
        client: CLIENT,
        freshStream: randomId,
        size: this.screen.size,
        fresh: settings.fresh,
        chance: Math.random,
      },
      {
        socket: (subprotocols) => new WebSocket(settings.address, subprotocols),
        ticket: (role) => settings.api.ticket(settings.id, role),
        renew: settings.renew,
        said: (said) => this.hear(said),
        now: () => performance.now(),
      },
    );
    const { signal } = this.leaveListeners;
    document.addEventListener(
      "visibilitychange",
      () => this.connection.tell({ on: "visible", yes: document.visibilityState === "visible" }),
      { signal },
    );
    window.addEventListener("online", () => this.connection.tell({ on: "hurry" }), { signal });
    this.becomes(settings.role);
    this.showName();
    this.connection.tell({ on: "visible", yes: document.visibilityState === "visible" });
    this.connection.tell({ on: "start" });
    void this.describe();
  }

  /** A newer token was got in good time. */
  renewed(token: string): void {
    this.connection.tell({ on: "renewed", token });
  }

  wear(appearance: Appearance): void {
    this.appearance = appearance;
    this.surface.wear(appearance);
  }

  leave(): void {
    this.leaveListeners.abort();
    this.connection.tell({ on: "leave" });
    this.overlay.hide();
    clearTimeout(this.quiet);
    this.start.hide();
    this.banners.dispose();
    this.surface.dispose();
    document.title = "Shellgate";
  }

  /** The screen measures itself while the view is still being made. */
  private whenReady(then: () => void): void {
    if (this.connection !== undefined) then();
  }

  // ── What goes on ──

  private hear(said: Said): void {
    switch (said.do) {
      case "draw":
        if (said.what.draw === "gap" && !this.shown) {
          this.remarks.gap(said.what.to - said.what.from, said.what.why);
        }
        this.surface.draw(said.what);
        return;
      case "status":
        this.status(said.status);
        return;
      case "notice":
        if (said.notice.kind === "observers") this.bar.watchers(said.notice.count);
        else this.remarks.notice(said.notice, this.work);
        return;
      case "exit":
        this.exited(said.status);
        return;
      case "signalled":
        this.remarks.signalled(said.name);
        return;
      case "latency":
        this.bar.latency(said.millis);
        return;
      case "input_lost":
        this.remarks.inputLost(said.bytes, said.why);
        return;
    }
  }

  private status(status: Status): void {
    clearTimeout(this.quiet);
    switch (status.state) {
      case "connecting":
        this.bar.badge("severed", "connecting");
        if (!this.everAttached) {
          this.overlay.hide();
          this.start.connecting();
        } else if (this.exit === undefined) {
          this.quiet = setTimeout(
            () => this.reconnecting("Connection lost. Reconnecting…"),
            QUIET_MILLIS,
          );
        }
        return;
      case "starting":
        this.bar.badge("starting", "starting");
        if (this.everAttached && status.starting.phase === "reconnecting") {
          this.quiet = setTimeout(
            () => this.reconnecting("The sandbox is out of reach for a moment. Nothing is lost."),
            QUIET_MILLIS,
          );
        } else {
          this.start.show(status.starting, status.at);
        }
        return;
      case "attached":
        this.shown = status.over && !this.everAttached;
        this.everAttached = true;
        this.bar.badge("live", status.role === "observer" ? "watching" : "connected");
        this.start.hide();
        this.overlay.hide();
        this.banners.hide("connection");
        this.becomes(status.role);
        this.bar.watchers(0);
        if (status.mode === "lines" && this.surface === this.screen) this.speaksByLines();
        this.surface.attached(status.role === "driver");
        this.surface.focus();
        return;
      case "waiting":
        this.bar.badge("severed", "disconnected");
        this.bar.latency(undefined);
        this.reconnecting("Connection lost.", [
          { label: "Try now", click: () => this.connection.tell({ on: "hurry" }), primary: true },
        ]);
        this.banners.countDown(
          "connection",
          status.until,
          (seconds) => `Trying again in ${seconds} s`,
        );
        return;
      case "stopped":
        this.stopped(status.stopped, status.exit);
        return;
    }
  }

  private reconnecting(
    words: string,
    acts: { label: string; click: () => void; primary?: boolean }[] = [],
  ): void {
    this.start.hide();
    this.banners.show(
      "connection",
      "warning",
      words,
      acts.length > 0 ? acts : [{ label: "Sessions", click: this.settings.back }],
    );
  }

  private exited(exit: ExitStatus): void {
    this.exit = exit;
    this.bar.badge("ended", "ended");
    this.surface.ended();
    this.keys.hidden = true;
    // No program is left to be disturbed, and its last words are not to be covered.
    this.stage.before(this.banners.element);
    this.remarks.over();
    this.banners.hide("connection");
    this.bar.ended();
    const words = exitWords(exit);
    this.banners.show("exit", exit.reason === "exited" ? "calm" : "warning", words, [
      { label: "Sessions", click: this.settings.back },
      { label: "Start a new one", click: () => void this.again(), primary: true },
    ]);
  }

  private stopped(stopped: Stopped, exit: ExitStatus | undefined): void {
    this.start.hide();
    this.banners.hide("connection");
    this.bar.latency(undefined);
    if (stopped.why === "left" || exit !== undefined) return;
    if (stopped.why === "unauthenticated") {
      this.settings.signedOut();
      return;
    }
    this.bar.badge(
      stopped.why === "ended" || stopped.why === "idle" ? "ended" : "severed",
      "disconnected",
    );
    this.surface.ended();
    this.bar.ended();
    this.keys.hidden = true;
    if (stopped.why === "ended" || stopped.why === "idle") {
      void this.explainEnd(stopped);
      return;
    }
    if (stopped.why === "quota") {
      const refusal = refusalCard(
        { code: stopped.code, detail: stopped.detail ?? "", retryAfter: stopped.retryAfter },
        () => this.attachAs(this.role),
        this.settings.back,
      );
      this.overlay.show(refusal.card, refusal.leave);
      return;
    }
    const acts = [button("Sessions", this.settings.back)];
    if (stopped.why === "another_driver") {
      acts.push(button("Watch", () => this.attachAs("observer")));
      acts.push(button("Take over", () => void this.takeOver(), "primary"));
    } else if (stopped.why === "protocol") {
      acts.push(button("Connect again", () => this.attachAs(this.role), "primary"));
    }
    this.overlay.show(stoppedCard(stopped, acts));
  }

  /** The end came without a word of its own: the session's page has it. */
  private async explainEnd(stopped: Stopped): Promise<void> {
    const session = await this.settings.api.session(this.settings.id).catch(() => undefined);
    if (session?.exit !== undefined) this.exited(session.exit);
    else {
      const acts = [
        button("Sessions", this.settings.back),
        button("Start a new one", () => void this.again(), "primary"),
      ];
      this.overlay.show(stoppedCard(stopped, acts));
    }
  }

  // ── What a person can do ──

  private typed(bytes: Uint8Array): void {
    if (this.role === "driver") this.remarks.worked();
    this.connection.tell({ on: "typed", bytes });
  }

  /** What a person does in the session, where they may do anything. */
  private get work(): "key" | "line" | undefined {
    if (this.role !== "driver") return undefined;
    return this.surface === this.screen ? "key" : "line";
  }

  private attachAs(role: Role): void {
    this.overlay.hide();
    this.becomes(role);
    this.connection.tell({ on: "attach_as", role });
  }

  /** Where a link leads is the program's to say, whatever its text says: so a person is shown. */
  private async follow(link: URL): Promise<void> {
    const yes = await confirmed("Open this link?", link.href, "Open");
    if (yes) openLink(link);
  }

  private async takeOver(): Promise<void> {
    const yes = await confirmed(
      "Take this session over?",
      "The other window stops typing in it. What it typed and the program has not read is dropped.",
      "Take over",
    );
    if (!yes) return;
    this.overlay.hide();
    this.becomes("driver");
    this.connection.tell({ on: "take_over" });
  }

  private async stop(): Promise<void> {
    const yes = await confirmed(
      "Stop this session?",
      "Everything that runs in it ends. Your files stay.",
      "Stop it",
    );
    if (!yes) return;
    try {
      await this.settings.api.stop(this.settings.id);
    } catch (error) {
      this.banners.show(
        "stop",
        "trouble",
        error instanceof Error ? error.message : "It did not stop.",
      );
    }
  }

  private async again(): Promise<void> {
    const wish: Wish = {};
    if (this.session?.name !== undefined) wish.name = this.session.name;
    if (this.session?.template !== undefined) wish.template = this.session.template;
    try {
      await this.settings.startNew(wish);
    } catch (error) {
      this.banners.show(
        "again",
        "trouble",
        error instanceof Error ? error.message : "It did not start.",
      );
    }
  }

  private copy(): void {
    void navigator.clipboard?.writeText(this.screen.selection);
    this.screen.focus();
  }

  private async paste(): Promise<void> {
    try {
      this.screen.paste(await navigator.clipboard.readText());
    } catch {
      this.remarks.say(
        "paste",
        "calm",
        "This browser lets only the keyboard paste: press Ctrl+Shift+V, or ⌘V.",
      );
    }
    this.screen.focus();
  }

  // ── How it looks ──

  /** There is no terminal behind this session: its lines take the place of one. */
  private speaksByLines(): void {
    const lines = new LinesScreen(
      {
        typed: (typed) => this.typed(typed),
        drew: (mark) => this.connection.tell({ on: "drew", mark }),
      },
      this.appearance,
    );
    this.screen.dispose();
    this.stage.querySelector(".terminal-host")?.replaceWith(lines.element);
    this.bar.hasNoTerminal();
    this.keys.remove();
    this.surface = lines;
  }

  private becomes(role: Role): void {
    if (this.role !== role) this.settings.became(role);
    this.role = role;
    this.bar.becomes(role);
    this.keys.hidden = role !== "driver";
  }

  private showName(): void {
    this.bar.name(sessionName(this.session ?? { id: this.settings.id }));
  }

  private async describe(): Promise<void> {
    // The attachment itself says what is wrong, where something is.
    this.session = await this.settings.api.session(this.settings.id).catch(() => undefined);
    this.showName();
    if (this.session?.network === "none") this.bar.hasNoNetwork();
  }
}
