import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { withInstallLock } from "./install-lock.mjs";

function emptyFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-lock-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A lock left behind by a process that is gone. */
function leaveLock(folder: string): void {
  const { pid } = spawnSync(process.execPath, ["--version"]);
  mkdirSync(join(folder, "install.lock"));
  writeFileSync(join(folder, "install.lock/holder.json"), JSON.stringify({ host: hostname(), pids: [pid] }));
}

test("two holders take turns, and leave nothing behind", async (t) => {
  const folder = emptyFolder(t);
  let inside = 0;
  const turn = (): Promise<number> =>
    withInstallLock(folder, async () => {
      inside++;
      await new Promise((resolve) => setImmediate(resolve));
      return inside--;
    });
  assert.deepEqual(await Promise.all([turn(), turn(), turn()]), [1, 1, 1]);
  assert.deepEqual(readdirSync(folder), []);
});

test("the lock of a dead process is taken over at once, by one of those who wait", async (t) => {
  const folder = emptyFolder(t);
  leaveLock(folder);
  let inside = 0;
  const turn = (): Promise<number> => withInstallLock(folder, () => Promise.resolve(++inside).finally(() => inside--));
  assert.deepEqual(await Promise.all([turn(), turn()]), [1, 1]);
  assert.deepEqual(readdirSync(folder), []);
});

test("what fails inside is told, and the lock is free again", async (t) => {
  const folder = emptyFolder(t);
  await assert.rejects(
    withInstallLock(folder, () => Promise.reject(new Error("npm failed"))),
    /npm failed/,
  );
  assert.equal(await withInstallLock(folder, () => Promise.resolve("mine")), "mine");
});
