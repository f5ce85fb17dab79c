import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { channelRecords, type ChannelRecord } from "./channel-record.ts";

const RECORD: ChannelRecord = {
  networkId: -239,
  registry: `0:${"0c".repeat(32)}`,
  gatewayUrl: "https://gateway.example",
  chainEndpoint: undefined,
  terms: {
    owner: `0:${"0a".repeat(32)}`,
    gateway: `0:${"0b".repeat(32)}`,
    gatewayKey: new Uint8Array(32).fill(3),
    closeDelaySeconds: 86_400,
  },
  address: `0:${"0d".repeat(32)}`,
  cap: { perDay: 10n ** 18n },
  chargedBefore: 0n,
  sent: { type: "top-up", queryId: 2n ** 64n - 1n, amount: 5n, validUntil: 1_790_000_000, afterLt: 77n },
};

function folderFor(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "cocoon-channel-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, "data");
}

test("a folder without a channel has no record", (t) => {
  assert.equal(channelRecords(folderFor(t)).read(), undefined);
});

test("what is written is read again, by its owner alone", (t) => {
  const folder = folderFor(t);
  channelRecords(folder).write(RECORD);
  assert.deepEqual(channelRecords(folder).read(), RECORD);
  const bare = { ...RECORD, registry: undefined, chainEndpoint: "http://127.0.0.1:1", cap: {}, sent: undefined };
  channelRecords(folder).write(bare);
  assert.deepEqual(channelRecords(folder).read(), bare);
  if (process.platform !== "win32") assert.equal(statSync(join(folder, "channel.json")).mode & 0o777, 0o600);
});

test("a record that was damaged is said so, and never taken for none", (t) => {
  const folder = folderFor(t);
  const records = channelRecords(folder);
  records.write(RECORD);
  const path = join(folder, "channel.json");
  const whole = readFileSync(path, "utf8");
  const spoiled = [
    "",
    whole.slice(0, -20),
    whole.replace("acn1-channel", "acn2-channel"),
    whole.replace('"networkId":-239', '"networkId":-239,"networkId":-3'),
    whole.replace("0a0a", "0x0a"),
    whole.replace('"amount":"5"', '"amount":"-5"'),
    whole.replace('"cap":{', '"cap":{"perHour":"1",'),
  ];
  for (const text of spoiled) {
    assert.notEqual(text, whole);
    writeFileSync(path, text);
    assert.throws(() => records.read(), { code: "storage_failed" }, text);
  }
});

test("a folder that cannot be written is said so", (t) => {
  const folder = folderFor(t);
  mkdirSync(join(folder, "channel.json.next"), { recursive: true });
  assert.throws(() => channelRecords(folder).write(RECORD), { code: "storage_failed" });
});
