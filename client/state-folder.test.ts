import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { openKeyFiles } from "./key-files.ts";
import { openStateFolder } from "./state-folder.ts";

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-client-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test("lines are there again when the folder is opened again", (t) => {
  const folder = join(folderFor(t), "new", "state");
  const first = openStateFolder(folder);
  first.append("one");
  first.append("two");
  first.close();
  const second = openStateFolder(folder);
  assert.deepEqual(second.lines(), ["one", "two"]);
  second.replace(["three"]);
  second.append("four");
  second.close();
  assert.equal(readFileSync(join(folder, "channel.jsonl"), "utf8"), "three\nfour\n");
});

test("a line that a crash cut short is not one, and the next is not glued to it", (t) => {
  const folder = folderFor(t);
  const first = openStateFolder(folder);
  first.append("whole");
  first.close();
  appendFileSync(join(folder, "channel.jsonl"), '{"half');
  const second = openStateFolder(folder);
  assert.deepEqual(second.lines(), ["whole"]);
  second.append("next");
  second.close();
  assert.equal(readFileSync(join(folder, "channel.jsonl"), "utf8"), "whole\nnext\n");
});

test("two clients cannot use one folder, and a lock left by a crash keeps nobody out", (t) => {
  const folder = folderFor(t);
  const first = openStateFolder(folder);
  assert.throws(() => openStateFolder(folder), { code: "storage_failed", message: /another client uses this folder/ });
  first.close();
  assert.ok(!existsSync(join(folder, "lock")));
  for (const left of ["999999999", "", "not a number"]) {
    writeFileSync(join(folder, "lock"), left);
    openStateFolder(folder).close();
  }
});

test("a folder that is a file, or cannot be written, is said so", (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, "file"), "");
  assert.throws(() => openStateFolder(join(folder, "file")), { code: "storage_failed" });
  assert.throws(() => openKeyFiles(join(folder, "file"), () => new Uint8Array(32)), { code: "storage_failed" });
});

test("keys are made once, for their owner's eyes only", (t) => {
  const folder = join(folderFor(t), "keys");
  let made = 0;
  const random = (length: number): Uint8Array => new Uint8Array(length).fill(++made);
  const first = openKeyFiles(folder, random);
  assert.deepEqual(openKeyFiles(folder, random), first);
  assert.match(first.apiKey, /^sk-cocoon-[\w-]{43}$/);
  assert.deepEqual(first.paymentSeed, new Uint8Array(32).fill(1));
  for (const file of ["payment.seed", "api.key"]) assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600);
});

test("a damaged key file is named, and not replaced", (t) => {
  const folder = folderFor(t);
  writeFileSync(join(folder, "payment.seed"), "short");
  assert.throws(() => openKeyFiles(folder, (length) => new Uint8Array(length)), {
    code: "storage_failed",
    message: /payment\.seed is damaged/,
  });
  assert.equal(readFileSync(join(folder, "payment.seed"), "utf8"), "short");
});
