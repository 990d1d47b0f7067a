// The list of a person's own sessions, and the way to a new one.

import { type Api, Problem, type Session, type Wish } from "../client/index.ts";
import { button, confirmed, h } from "./dom.ts";
import { type RefusalCard, refusalCard } from "./refusal_view.ts";
import { exitWords, STATES, sessionName, span } from "./words.ts";

/** The list is fetched again after so many milliseconds for each of its pages, while it can be
 * seen: a long one is no more work for the gateway than a short one. */
const REFRESH_MILLIS = 4000;

/** Ended sessions that are shown at first, and that each wish for more adds. All others are shown
 * always, however old they are. */
const ENDED_SHOWN = 50;

/** Where the list leads. */
export interface SessionsSettings {
  api: Api;
  open: (id: string) => void;
  /** Starts a session and shows it. */
  startNew: (wish: Wish) => Promise<void>;
  observe: (id: string) => void;
  /** The token is not good (any more); `code` is the gateway's word for why. */
  signedOut: (code: string | undefined) => void;
}

/** Shows the sessions; returns what stops it. */
export function sessionsView(host: HTMLElement, settings: SessionsSettings): () => void {
  const { api } = settings;
  /** The list could not be fetched: cleared as soon as it can. */
  const listTrouble = h("p", { className: "problem", hidden: true, attributes: { role: "alert" } });
  /** What a person asked for was not done: theirs to read until they do something else. */
  const wishTrouble = h("p", { className: "problem", hidden: true, attributes: { role: "alert" } });
  const list = h("ul", { className: "sessions", attributes: { "aria-label": "Your sessions" } });
  const more = button("Show more", () => {
    endedShown += ENDED_SHOWN;
    show();
  });
  more.hidden = true;
  const slot = h("div", {});
  const name = h("input", {
    id: "name",
    type: "text",
    placeholder: "optional",
    maxLength: 64,
    autocomplete: "off",
    spellcheck: false,
  });
  const template = h("input", {
    id: "template",
    type: "text",
    placeholder: "default",
    maxLength: 64,
    autocomplete: "off",
    spellcheck: false,
  });
  const start = h("button", { type: "submit", className: "primary" }, "New session");
  let sessions: Session[] = [];
  let fetched = false;
  let endedShown = ENDED_SHOWN;
  let refreshes = 0;
  let left = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** The refusal that is shown, and how many sessions had not ended by then. */
  let refused: { shown: RefusalCard; code: string | undefined; living: number } | undefined;

  const failed = (trouble: HTMLElement, error: unknown) => {
    if (left) return;
    if (error instanceof Problem && error.status === 401) {
      settings.signedOut(error.code);
      return;
    }
    trouble.hidden = false;
    trouble.textContent = error instanceof Problem ? error.detail : "Something went wrong.";
  };

  const putAway = () => {
    refused?.shown.leave();
    refused = undefined;
    slot.replaceChildren();
  };

  const refuse = (problem: Problem) => {
    const back = () => {
      putAway();
      start.focus();
    };
    const shown = refusalCard(problem, () => void create(), back);
    refused = { shown, code: problem.code, living: living(sessions) };
    slot.replaceChildren(shown.card);
    shown.card.focus();
  };

  let creating = false;
  const create = async () => {
    if (creating) return;
    // Not disabled: that would take the focus from under a person's finger.
    creating = true;
    start.setAttribute("aria-busy", "true");
    wishTrouble.hidden = true;
    const retried = slot.contains(document.activeElement);
    putAway();
    if (retried) start.focus();
    const wish: Wish = {};
    if (name.value.trim() !== "") wish.name = name.value.trim();
    if (template.value.trim() !== "") wish.template = template.value.trim();
    try {
      await settings.startNew(wish);
    } catch (error) {
      // Told when to come back, or that a limit is reached: a refusal, and no fault.
      const refusal =
        error instanceof Problem &&
        (error.status === 429 || error.status === 503 || error.retryAfter !== undefined);
      if (refusal && !left) refuse(error);
      else failed(wishTrouble, error);
    } finally {
      creating = false;
      start.removeAttribute("aria-busy");
    }
  };

  const refresh = async () => {
    clearTimeout(timer);
    refreshes += 1;
    const mine = refreshes;
    let pages = 0;
    try {
      const all: Session[] = [];
      for await (const page of api.sessions()) {
        // A newer one knows more.
        if (left || mine !== refreshes) return;
        all.push(...page);
        pages += 1;
        // The first time something is better than nothing; later all that is shown is whole.
        if (!fetched) show(all);
      }
      fetched = true;
      listTrouble.hidden = true;
      show(all);
    } catch (error) {
      failed(listTrouble, error);
    }
    // There is one timer, or they would multiply.
    if (!left && mine === refreshes) timer = setTimeout(seen, REFRESH_MILLIS * Math.max(1, pages));
  };
  const seen = () => {
    if (document.visibilityState === "visible") void refresh();
  };

  const stop = async (session: Session) => {
    const yes = await confirmed(
      `Stop “${sessionName(session)}”?`,
      "Everything that runs in it ends. Your files stay.",
      "Stop it",
    );
    if (!yes) return;
    wishTrouble.hidden = true;
    await api.stop(session.id).catch((error: unknown) => failed(wishTrouble, error));
    await refresh();
  };

  const show = (now = sessions) => {
    sessions = now;
    if (refused?.code === "too_many_sessions" && living(sessions) < refused.living) {
      refused.shown.free();
    }
    const order = (session: Session) => (session.state === "ended" ? 1 : 0);
    const sorted = [...sessions].sort(
      (a, b) => order(a) - order(b) || (b.created ?? 0) - (a.created ?? 0),
    );
    const ended = sorted.findIndex(({ state }) => state === "ended");
    const shown = ended < 0 ? sorted : sorted.slice(0, ended + endedShown);
    const hidden = sorted.length - shown.length;
    more.hidden = hidden === 0;
    more.textContent = `Show more of the ${hidden} older sessions that have ended`;
    // A list that is drawn anew must not take the focus from under a person's finger.
    const focused = document.activeElement?.getAttribute("data-focus") ?? undefined;
    list.replaceChildren(
      ...shown.map((session) => item(session, settings, (one) => void stop(one))),
    );
    if (sessions.length === 0) {
      list.append(
        h("li", { className: "empty" }, "No sessions yet. Start one: it takes about a second."),
      );
    }
    if (focused !== undefined) {
      list.querySelector<HTMLElement>(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    }
  };

  host.append(
    h(
      "main",
      { className: "wide" },
      h("h1", {}, "Sessions"),
      h(
        "form",
        {
          className: "new-session",
          on: {
            submit: (event: SubmitEvent) => {
              event.preventDefault();
              void create();
            },
            input: () => {
              wishTrouble.hidden = true;
            },
          },
        },
        h("div", { className: "field" }, h("label", { htmlFor: "name" }, "Name"), name),
        h("div", { className: "field" }, h("label", { htmlFor: "template" }, "Template"), template),
        start,
      ),
      slot,
      wishTrouble,
      listTrouble,
      list,
      more,
    ),
  );
  document.addEventListener("visibilitychange", seen);
  void refresh();
  return () => {
    left = true;
    clearTimeout(timer);
    putAway();
    document.removeEventListener("visibilitychange", seen);
  };
}

/** How many sessions have not ended. */
function living(sessions: Session[]): number {
  return sessions.filter(({ state }) => state !== "ended").length;
}

function item(
  session: Session,
  settings: SessionsSettings,
  stop: (one: Session) => void,
): HTMLElement {
  const title = sessionName(session);
  const facts = [session.template ?? "", session.mode === "lines" ? "lines" : ""];
  const { created, endedAt } = session;
  if (endedAt !== undefined) facts.push(`ended ${span(Date.now() - endedAt)} ago`);
  else if (created !== undefined) facts.push(`${span(Date.now() - created)} old`);
  if (session.attached) facts.push("open in a window");
  const acts: HTMLElement[] = [];
  const act = (label: string, click: () => void, look = "") => {
    const one = button(label, click, look);
    one.setAttribute("aria-label", `${label} ${title}`);
    one.dataset.focus = `${label} ${session.id}`;
    acts.push(one);
  };
  if (session.state === "ended") act("Show", () => settings.observe(session.id));
  else if (session.state !== "stopping") {
    act("Open", () => settings.open(session.id), "primary");
    act("Watch", () => settings.observe(session.id));
    act("Stop", () => stop(session), "quiet-danger");
  }
  return h(
    "li",
    { className: "session", attributes: { "data-session": session.id } },
    h(
      "div",
      { className: "what" },
      h(
        "div",
        { className: "title" },
        h("span", { className: "name" }, title),
        h("span", { className: `badge ${session.state}` }, STATES[session.state]),
      ),
      h("div", { className: "hint" }, facts.filter((fact) => fact !== "").join(" · ")),
      session.exit !== undefined && h("div", { className: "hint" }, exitWords(session.exit)),
    ),
    h("div", { className: "row" }, ...acts),
  );
}
