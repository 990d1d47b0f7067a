// The page under a person's hands: what keys and buttons do at an unexpected moment, played as
// `story.ts` is.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Page } from "playwright-core";
import type { ScriptedGateway } from "../scripted_gateway.ts";
import {
  absent,
  attached,
  freshWindow,
  opensNew,
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

/** What has the focus: a button's words, or else its class. */
async function focused(page: Page): Promise<string> {
  return page.evaluate(() => {
    const { activeElement: one } = document;
    return one instanceof HTMLButtonElement ? (one.textContent ?? "") : (one?.className ?? "");
  });
}

test("whoever goes on typing when the session is taken over takes nothing back", {
  skip: scriptedOnly,
  timeout: 60_000,
}, async () => {
  const gateway = scripted as ScriptedGateway;
  const page = await freshWindow();
  await signsIn(page);
  await opensNew(page, "taken");
  await shows(page, "$");
  const session = [...gateway.sessions.values()].find(({ name }) => name === "taken");
  assert.ok(session !== undefined);
  const other = await freshWindow();
  await signsIn(other);
  await other.getByRole("button", { name: "Watch taken" }).click();
  await attached(other, "watching");
  await other.getByRole("button", { name: "Take over" }).click();
  assert.equal(await focused(other), "Cancel");
  await other.locator("dialog").getByRole("button", { name: "Take over" }).click();
  await attached(other);

  await page.getByRole("heading", { name: "This session is open elsewhere" }).waitFor();
  // Tab leads to a button, Space and Enter press one.
  for (const key of ["a", "Tab", "Tab", "Tab", "Space", "b", "Enter", "Space", "Enter"]) {
    await page.keyboard.press(key);
  }
  assert.equal(await page.locator("dialog").count(), 0);
  assert.match(await focused(page), /card/);
  await types(other, "add 40 2");
  await shows(other, "42");
  await attached(other);
  assert.equal(
    [...session.channels].find(({ attach }) => attach.role === "driver")?.attach.takeover,
    true,
  );

  // Who has read it, and has pressed no key for a moment, reaches its buttons by the keyboard.
  const since = await page.evaluate(() => performance.now());
  await page.waitForFunction((since) => performance.now() - since > 850, since);
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Sessions");
  for (const one of [page, other]) await one.context().close();
});

test("nothing strayed: no error, no breach of the policy, no other host, no breach of the protocol", {
  skip: absent,
}, () => {
  assert.deepEqual([...strays], []);
  if (scripted !== undefined) assert.deepEqual(scripted.violations, []);
});
