// The page with sessions of lines, signals and long lists, played as `story.ts` is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import type { ScriptedGateway } from "../scripted_gateway.ts";
import {
  absent,
  attached,
  cable,
  freshWindow,
  opensNew,
  PATIENCE,
  pictured,
  REAL,
  SHELL,
  scripted,
  scriptedOnly,
  setUp,
  shows,
  signsIn,
  strays,
  tearDown,
  types,
} from "./stage.ts";

before(setUp);
after(tearDown);

/** What the program has said, as the page shows it. */
async function received(page: Page): Promise<string[]> {
  return page.locator(".line.received").allTextContents();
}

async function says(page: Page, line: string): Promise<void> {
  await page.getByLabel("A line for the program").fill(line);
  await page.keyboard.press("Enter");
}

async function hears(page: Page, line: string): Promise<void> {
  await page.locator(".line.received", { hasText: line }).first().waitFor();
}

async function signals(page: Page, label: string): Promise<void> {
  await page.getByRole("button", { name: "Signal", exact: true }).click();
  await page.getByRole("button", { name: label }).click();
}

test("a session of lines is written to and read, cut off, resumed, watched and ended", {
  skip: absent,
  timeout: 60_000,
}, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await page.getByLabel("Template").fill("lines");
  await opensNew(page, "agent");
  await says(page, "first");
  await hears(page, '{"got":"first"}');
  for (let cut = 1; cut <= 3; cut++) {
    cable.cut();
    await says(page, `again ${cut}`);
    await hears(page, `{"got":"again ${cut}"}`);
  }
  const all = ["first", "again 1", "again 2", "again 3"];
  const said = all.map((line) => `Received: {"got":"${line}"}`);
  assert.deepEqual(await received(page), said);
  assert.deepEqual(
    await page.locator(".line.sent").allTextContents(),
    all.map((line) => `Sent: ${line}`),
  );
  await page.getByLabel("A line for the program").fill("two lines\nat once");
  await pictured(page, "60-lines");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await hears(page, '{"got":"at once"}');

  // Another page load knows nothing, and is told all that is kept.
  await page.reload();
  await attached(page);
  await hears(page, '{"got":"at once"}');
  const everything = [...said, 'Received: {"got":"two lines"}', 'Received: {"got":"at once"}'];
  assert.deepEqual(await received(page), everything);

  const other = await freshWindow({ viewport: { width: 390, height: 720 } });
  await signsIn(other);
  await other.getByRole("button", { name: "Watch agent" }).click();
  await attached(other, "watching");
  await hears(other, '{"got":"at once"}');
  assert.equal(await other.getByLabel("A line for the program").isVisible(), false);
  await says(page, "watched");
  await hears(other, '{"got":"watched"}');
  await pictured(other, "61-lines-watched");

  await signals(page, "Terminate · TERM");
  await page.locator('[data-banner="exit"]').waitFor();
  await page.getByText("Ended by signal TERM.").waitFor();
  assert.equal(await page.getByLabel("A line for the program").isVisible(), false);
  await pictured(page, "62-lines-ended");
  for (const one of [page, other]) await one.context().close();
});

test("a signal interrupts what runs, and one that ends a shell is asked about", {
  skip: absent,
  timeout: 60_000,
}, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "signalled");
  await shows(page, "$");
  // Its terminal has no Ctrl+C any more.
  if (REAL) await types(page, "stty intr undef; sleep 1000");
  await page.getByRole("button", { name: "Signal", exact: true }).click();
  await pictured(page, "63-signals");
  await page.getByRole("button", { name: "Interrupt · INT" }).click();
  await page.getByText("INT was sent.").waitFor();
  await types(page, SHELL.sum(300, 33));
  await shows(page, "333");
  await signals(page, "Kill · KILL");
  await page.getByRole("heading", { name: "Send KILL?" }).waitFor();
  await pictured(page, "64-kill");
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator(".xterm-screen").click();
  await types(page, SHELL.sum(400, 44));
  await shows(page, "444");
  const session = [...(scripted?.sessions.values() ?? [])].find(({ name }) => name === "signalled");
  if (session !== undefined) assert.deepEqual(session.signals, ["INT"]);
  await page.context().close();
});

test("a link whose text may say anything shows where it leads, and is asked about", {
  skip: scriptedOnly,
}, async () => {
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "links");
  await types(page, "link");
  await shows(page, "the documentation");
  const link = page.locator(".xterm-rows span", { hasText: "the documentation" }).first();
  await link.hover({ force: true });
  await page.locator(".link-hint", { hasText: "https://elsewhere.example/?from=here" }).waitFor();
  await link.click({ force: true });
  await page.getByRole("heading", { name: "Open this link?" }).waitFor();
  await page.locator("dialog", { hasText: "https://elsewhere.example/?from=here" }).waitFor();
  await pictured(page, "66-link");
  assert.equal(page.context().pages().length, 1);
  await page.getByRole("button", { name: "Cancel" }).click();
  assert.equal(page.context().pages().length, 1);
  await page.context().close();
});

test("an old session that lives is listed, however many young ones have ended", {
  skip: scriptedOnly,
}, async () => {
  const gateway = scripted as ScriptedGateway;
  gateway.pageMax = 25;
  gateway.open("methuselah");
  for (let n = 1; n <= 130; n++) {
    gateway.end(gateway.open(`brief-${n}`), { reason: "exited", code: 0 });
  }
  const page = await freshWindow();
  await signsIn(page);
  await page.getByRole("button", { name: "Open methuselah" }).waitFor();
  const brief = page.locator(".session", { hasText: "brief-" });
  await page.getByText("older sessions that have ended").waitFor();
  assert.ok((await brief.count()) <= 50);
  await pictured(page, "65-many-sessions");
  await page.getByText("older sessions that have ended").click();
  await page.getByText("older sessions that have ended").click();
  await page.locator(".session", { hasText: /^brief-1ended/ }).waitFor({ timeout: PATIENCE });
  assert.equal(await brief.count(), 130);
  assert.equal(await page.getByText("older sessions that have ended").isVisible(), false);
  await page.context().close();
});

test("nothing strayed: no error, no breach of the policy, no other host, no breach of the protocol", {
  skip: absent,
}, () => {
  assert.deepEqual([...strays], []);
  if (scripted !== undefined) assert.deepEqual(scripted.violations, []);
});
