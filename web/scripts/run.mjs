// Runs a TypeScript program: bundled by esbuild into build/, then started with this Node. Packages
// stay outside the bundle. `node scripts/run.mjs [--test] FILE…`

import { spawnSync } from "node:child_process";
import path from "node:path";
import { build } from "esbuild";

const [first, ...rest] = process.argv.slice(2);
const test = first === "--test";
const entryPoints = test ? rest : [first, ...rest];
await build({
  entryPoints,
  bundle: true,
  platform: "node",
  format: "esm",
  target: "node20",
  packages: "external",
  outdir: "build",
  outbase: ".",
  outExtension: { ".js": ".mjs" },
  sourcemap: "inline",
  logLevel: "warning",
});
const built = entryPoints.map((entry) => path.join("build", entry.replace(/\.ts$/, ".mjs")));
// A browser in each of two files at once would slow both.
const turns = rest.some((entry) => entry.includes("browser")) ? ["--test-concurrency=1"] : [];
const flags = [
  "--enable-source-maps",
  ...(test ? ["--test", "--test-reporter=spec", "--test-timeout=300000", ...turns] : []),
];
const ran = spawnSync(process.execPath, [...flags, ...built], { stdio: "inherit" });
process.exit(ran.status ?? 1);
