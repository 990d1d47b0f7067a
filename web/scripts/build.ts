// Builds dist/: the page with its assets under names made of their content, each beside a copy
// with gzip where that is smaller, a manifest for whoever serves them, and the licences of what is
// bundled.

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { gzipSync } from "node:zlib";
import { build, type Metafile } from "esbuild";

const root = process.cwd();
const dist = path.join(root, "dist");

const TYPES: Record<string, string> = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};

interface Asset {
  /** Its name in dist/ and in the address. */
  file: string;
  content_type: string;
  /** Its name says its content: it may be kept for ever. */
  immutable: boolean;
}

const files = new Map<string, { bytes: Buffer; immutable: boolean }>();

function hashed(name: string, bytes: Buffer): string {
  const { name: stem, ext } = path.parse(name);
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 12);
  const file = `${stem}.${hash}${ext}`;
  files.set(file, { bytes, immutable: true });
  return file;
}

/** The licence of every package that has a byte in the bundle. */
async function licences(metafile: Metafile): Promise<string> {
  const packages = new Set<string>();
  for (const output of Object.values(metafile.outputs)) {
    for (const [input, { bytesInOutput }] of Object.entries(output.inputs)) {
      const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input);
      if (found?.[1] !== undefined && bytesInOutput > 0) packages.add(found[1]);
    }
  }
  const texts: string[] = [];
  for (const name of [...packages].sort()) {
    const folder = path.join(root, "node_modules", name);
    const about = JSON.parse(await readFile(path.join(folder, "package.json"), "utf8")) as {
      version: string;
      license?: string;
    };
    const file = (await readdir(folder)).find((one) => /^licen[cs]e/i.test(one));
    if (file === undefined) throw new Error(`${name} comes without its licence`);
    const text = await readFile(path.join(folder, file), "utf8");
    texts.push(`${name} ${about.version} (${about.license ?? "see below"})\n\n${text.trim()}\n`);
  }
  return texts.join(`\n${"-".repeat(80)}\n\n`);
}

const result = await build({
  absWorkingDir: root,
  entryPoints: { app: "src/page/main.ts" },
  bundle: true,
  minify: true,
  format: "esm",
  target: ["chrome111", "firefox113", "safari16.4"],
  outdir: "dist",
  write: false,
  metafile: true,
  legalComments: "none",
  logLevel: "warning",
});

let page = await readFile(path.join(root, "src/page/index.html"), "utf8");
const name = (placeholder: string, file: string) => {
  if (!page.includes(`{{${placeholder}}}`)) throw new Error(`index.html has no {{${placeholder}}}`);
  page = page.replace(`{{${placeholder}}}`, `/${file}`);
};
for (const output of result.outputFiles) {
  const base = path.basename(output.path);
  name(base, hashed(base, Buffer.from(output.contents)));
}
name("icon.svg", hashed("icon.svg", await readFile(path.join(root, "src/page/icon.svg"))));
files.set("licenses.txt", {
  bytes: Buffer.from(await licences(result.metafile)),
  immutable: false,
});
files.set("index.html", { bytes: Buffer.from(page), immutable: false });

const assets: Asset[] = [...files].map(([file, { immutable }]) => ({
  file,
  content_type: TYPES[path.extname(file)] ?? "application/octet-stream",
  immutable,
}));
assets.sort((a, b) => (a.file < b.file ? -1 : 1));

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
for (const [file, { bytes }] of files) await writeFile(path.join(dist, file), bytes);
await writeFile(
  path.join(dist, "manifest.json"),
  `${JSON.stringify({ files: assets }, null, 2)}\n`,
);
for (const [file, { bytes }] of files) {
  const packed = gzipSync(bytes, { level: 9 });
  if (file !== "index.html" && packed.length < bytes.length)
    await writeFile(path.join(dist, `${file}.gz`), packed);
  console.log(`dist/${file}: ${bytes.length} bytes, ${packed.length} with gzip`);
}
