import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, writeFile, utimes } from "node:fs/promises";
import { tmpdir, uptime } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { openDataFolder } from "./data-folder.ts";
import { identityOf, keysOnDisk, loadIdentity } from "./identity.ts";

const folders: string[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true });
});

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cocoon-worker-"));
  folders.push(folder);
  return folder;
}

async function lockHeldBy(path: string, pid: number, bootedAt = Date.now() - uptime() * 1000): Promise<void> {
  await writeFile(join(path, "worker.lock"), JSON.stringify({ pid, bootedAt, takenAt: 0 }));
}

/** A process that has just ended: its number belongs to nobody. */
async function deadPid(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""]);
  await new Promise((resolve) => child.once("exit", resolve));
  return child.pid ?? 0;
}

test("two workers cannot have one data folder, and the second is told who has it", async () => {
  const path = await newFolder();
  const first = await openDataFolder(path);
  await assert.rejects(openDataFolder(path), {
    code: "bad_configuration",
    message: new RegExp(`process ${process.pid}`),
  });
  first.release();
  (await openDataFolder(path)).release();
});

test("the lock of a worker that was killed is taken over", async () => {
  const path = await newFolder();
  await lockHeldBy(path, await deadPid());
  (await openDataFolder(path)).release();
  assert.deepEqual(await readdir(path), []);
});

test("the lock from before a reboot is taken over, whoever has that process number now", async () => {
  const path = await newFolder();
  await lockHeldBy(path, process.pid, Date.now() - 30 * 86_400_000);
  (await openDataFolder(path)).release();
});

test("a half-written lock holds nobody up", async () => {
  const path = await newFolder();
  await writeFile(join(path, "worker.lock"), '{"pid":');
  (await openDataFolder(path)).release();
});

test("of several that find a stale lock at once, exactly one gets the folder", async () => {
  const path = await newFolder();
  await lockHeldBy(path, await deadPid());
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => openDataFolder(path)));
  const opened = results.filter((result) => result.status === "fulfilled");
  assert.equal(opened.length, 1);
  opened[0]?.value.release();
});

test("a guard that a dying process left does not keep the folder closed for ever", async () => {
  const path = await newFolder();
  const guard = join(path, "worker.lock.guard");
  await writeFile(guard, "");
  const longAgo = new Date(Date.now() - 60_000);
  await utimes(guard, longAgo, longAgo);
  (await openDataFolder(path)).release();
});

test("releasing leaves a lock that somebody else has taken", async () => {
  const path = await newFolder();
  const folder = await openDataFolder(path);
  await lockHeldBy(path, 1);
  folder.release();
  assert.match(await readFile(join(path, "worker.lock"), "utf8"), /"pid":1,/);
});

test("a file that was written is there whole, for its owner only, and nothing else is left", async () => {
  const path = await newFolder();
  const folder = await openDataFolder(path);
  await folder.write("a.json", Buffer.from("first"));
  await folder.write("a.json", Buffer.from("second"));
  assert.equal(Buffer.from((await folder.read("a.json")) ?? []).toString(), "second");
  assert.equal(await folder.read("b.json"), undefined);
  folder.release();
  assert.deepEqual(await readdir(path), ["a.json"]);
  if (process.platform !== "win32") assert.equal((await stat(join(path, "a.json"))).mode & 0o777, 0o600);
});

test("a folder that cannot be made is a storage failure", async () => {
  const path = await newFolder();
  await writeFile(join(path, "file"), "");
  await assert.rejects(openDataFolder(join(path, "file", "below")), { code: "storage_failed" });
});

test("a worker keeps its identity", async () => {
  const path = await newFolder();
  const folder = await openDataFolder(path);
  const keys = keysOnDisk(folder);
  const first = await loadIdentity(keys, (length) => new Uint8Array(length).fill(5));
  const second = await loadIdentity(keys, () => assert.fail("a second identity"));
  assert.equal(second.workerId, first.workerId);
  await folder.write("identity.key", Buffer.from("short"));
  await assert.rejects(
    loadIdentity(keys, () => assert.fail("a second identity")),
    { code: "storage_failed" },
  );
  folder.release();
});

test("an identity prints as a secret", async () => {
  const { inspect } = await import("node:util");
  const identity = identityOf(new Uint8Array(32).fill(5));
  assert.equal(inspect(identity), "[secret]");
  assert.equal(JSON.stringify({ identity }), '{"identity":"[secret]"}');
});
