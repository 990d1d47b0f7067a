// What the page's story is played on: a browser, a cable that can be cut and a gateway behind it;
// and what a person does and sees there. Knows no story.

import { existsSync, mkdirSync } from "node:fs";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { ScriptedGateway } from "../scripted_gateway.ts";
import type { Session } from "../scripted_session.ts";
import { Cable } from "./cable.ts";
import { OwnGateway } from "./own_gateway.ts";

const CHROMIUM = process.env.SHELLGATE_CHROMIUM ?? "/usr/bin/chromium";
const OWN = process.env.SHELLGATE_STORY_GATEWAY;
export const REAL = process.env.SHELLGATE_STORY_URL !== undefined || OWN !== undefined;
export const absent = existsSync(CHROMIUM) ? false : `there is no Chromium at ${CHROMIUM}`;
export const scriptedOnly = REAL ? "only a scripted gateway does this on demand" : absent;
export const ownOnly = OWN === undefined ? "only a gateway of the story's own is killed" : absent;

/** How long a state of the page may take to come, in milliseconds. */
export const PATIENCE = 20_000;

/** The same wishes to the scripted shell and to a real one. */
export const SHELL = {
  sum: (a: number, b: number) => (REAL ? `echo $((${a}+${b}))` : `add ${a} ${b}`),
  count: (n: number) =>
    REAL ? `for ((i=1;i<=${n};i++)); do echo "line $i of ${n}"; done` : `count ${n}`,
};

export let scripted: ScriptedGateway | undefined;
export let own: OwnGateway | undefined;
/** Where a real gateway is, its one-time code included. */
let address = process.env.SHELLGATE_STORY_URL ?? "";
export let cable: Cable;
export let browser: Browser;
/** What the page must never do, and did. */
export const strays = new Set<string>();

/** A gateway, a cable to it and a browser. */
export async function setUp(): Promise<void> {
  if (absent !== false) return;
  mkdirSync("artifacts", { recursive: true });
  if (!REAL) {
    scripted = await ScriptedGateway.start("dist");
    address = scripted.base;
  } else if (OWN !== undefined) {
    own = new OwnGateway(OWN);
    address = await own.start();
  }
  cable = await Cable.to(address);
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
}

/** Leaves nothing behind. */
export async function tearDown(): Promise<void> {
  await browser?.close();
  await cable?.pull();
  await scripted?.stop();
  await own?.stop();
}

/** A window of the browser with nothing in it, that reports what the page must never do. */
export async function freshWindow(
  options: Parameters<Browser["newContext"]>[0] = {},
): Promise<Page> {
  const context = await browser.newContext({
    viewport: { width: 1100, height: 700 },
    colorScheme: "dark",
    ...options,
  });
  return watched(context);
}

export async function watched(context: BrowserContext, renderer = "dom"): Promise<Page> {
  // Plain elements, so that the test can read what a person sees.
  await context.addInitScript((chosen) => {
    if (localStorage.getItem("shellgate.appearance") === null) {
      localStorage.setItem("shellgate.appearance", JSON.stringify({ renderer: chosen }));
    }
  }, renderer);
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  page.on("pageerror", (error) => strays.add(`an error: ${error.message}`));
  page.on("console", (message) => {
    if (/Content.Security.Policy/i.test(message.text())) strays.add(message.text());
  });
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol !== "data:" && url.host !== new URL(cable.base).host) {
      strays.add(`a request to ${url.host}`);
    }
  });
  return page;
}

let spent = false;

/** Signs in: with the printed code once, then as the first window did. */
let kept: string | null = null;
export async function signsIn(page: Page): Promise<void> {
  if (REAL && spent) {
    await page.addInitScript((token) => {
      if (token !== null && sessionStorage.getItem("shellgate.token") === null) {
        sessionStorage.setItem("shellgate.token", token);
      }
    }, kept);
    await page.goto(`${cable.base}/`);
  } else {
    const code = REAL ? new URL(address).hash : `#code=${scripted?.code()}`;
    spent = true;
    await page.goto(`${cable.base}/${code}`);
  }
  await page.getByRole("heading", { name: "Sessions" }).waitFor();
  kept = await page.evaluate(() => sessionStorage.getItem("shellgate.token"));
}

export async function opensNew(page: Page, name: string): Promise<void> {
  await page.getByLabel("Name").fill(name);
  await page.getByRole("button", { name: "New session" }).click();
  await attached(page);
}

/** The scripted gateway's side of the session with this name. */
export function played(name: string): Session {
  const session = [...(scripted?.sessions.values() ?? [])].find((one) => one.name === name);
  if (session === undefined) throw new Error(`no session is called ${name}`);
  return session;
}

/** A window of its own with a new session at its prompt, and the scripted gateway's side of it. */
export async function opensScripted(
  name: string,
  options?: Parameters<typeof freshWindow>[0],
): Promise<{ gateway: ScriptedGateway; page: Page; session: Session }> {
  const page = await freshWindow(options);
  await signsIn(page);
  await opensNew(page, name);
  await shows(page, "$");
  return { gateway: scripted as ScriptedGateway, page, session: played(name) };
}

export async function attached(page: Page, words = "connected"): Promise<void> {
  await page.locator(".bar .badge", { hasText: new RegExp(`^${words}$`) }).waitFor();
}

export async function shows(page: Page, text: string): Promise<void> {
  await page.locator(".xterm-rows > div", { hasText: text }).first().waitFor();
}

export async function types(page: Page, line: string): Promise<void> {
  await page.keyboard.type(line);
  await page.keyboard.press("Enter");
}

export async function pictured(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `artifacts/${name}.png`, animations: "disabled" });
}

/** All lines of the terminal that say `line N of …`, from the first on, read page by page. */
export async function listing(page: Page): Promise<number[]> {
  return page.evaluate(async () => {
    const painted = () =>
      new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)));
    const keys = document.querySelector(".xterm-helper-textarea");
    let lines: number[] = [];
    for (let pages = 0; pages < 400 && lines[0] !== 1; pages++) {
      const seen = [...document.querySelectorAll(".xterm-rows > div")]
        .map((row) => Number(/^line (\d+) of /.exec(row.textContent ?? "")?.[1] ?? 0))
        .filter((n) => n > 0);
      const overlap = seen.indexOf(lines[0] ?? -1);
      lines = [...(overlap < 0 ? seen : seen.slice(0, overlap)), ...lines];
      const up = { key: "PageUp", keyCode: 33, shiftKey: true, bubbles: true };
      keys?.dispatchEvent(new KeyboardEvent("keydown", up));
      await painted();
    }
    return lines;
  });
}
