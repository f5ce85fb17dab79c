import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { COMMANDS } from "./commands.mjs";

test("every command of the bootstrap is an npm script of the same name", () => {
  const manifest = JSON.parse(readFileSync(join(import.meta.dirname, "../package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  const started = Object.entries(manifest.scripts).filter(([, line]) => line.startsWith("node scripts/start.mjs "));
  assert.deepEqual(
    started,
    Object.keys(COMMANDS).map((name) => [name, `node scripts/start.mjs ${name}`]),
  );
});
