// What the scripted gateway answers over plain HTTP: the page's files, JSON and problems. Knows no
// session.

import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import path from "node:path";

/** The page's policy, word for word what the real gateway sends. */
export const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; " +
  "img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none'; " +
  "frame-ancestors 'none'";

/** A refusal that the next request for a session gets. */
export interface Refusal {
  status: number;
  code: string;
  detail: string;
  retryAfter: number;
}

/** Answers with a file of the built page in `dist`, under its policy. */
export function asset(dist: string | undefined, pathname: string, response: ServerResponse): void {
  if (dist === undefined) {
    response.writeHead(404).end();
    return;
  }
  const manifest = JSON.parse(readFileSync(path.join(dist, "manifest.json"), "utf8")) as {
    files: { file: string; content_type: string }[];
  };
  const name = pathname === "/" ? "index.html" : pathname.slice(1);
  const found = manifest.files.find(({ file }) => file === name);
  if (found === undefined) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    "content-type": found.content_type,
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
  });
  response.end(readFileSync(path.join(dist, name)));
}

/** Answers in JSON. */
export function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/** Answers with a problem document. */
export function problem(response: ServerResponse, refusal: Refusal): void {
  const { status, code, detail, retryAfter } = refusal;
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (retryAfter > 0) headers["retry-after"] = String(retryAfter);
  response
    .writeHead(status, headers)
    .end(JSON.stringify({ type: "about:blank", title: "No", status, code, detail }));
}
