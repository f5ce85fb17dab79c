import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, test } from "node:test";
import { workerChannelOf } from "../contracts/WorkerChannel.ts";
import {
  encodePayload,
  keyPairFromSeed,
  payloadHash,
  toHex,
  type Nanoton,
  type PayoutVoucher,
  type SignedVoucher,
} from "../protocol/index.ts";
import { openGatewayContracts } from "./control/gateway-contracts.ts";
import { openAccount } from "./control/voucher-shelf.ts";
import { openDataFolder } from "./serving/data-folder.ts";
import { createVerifier } from "./serving/identity.ts";
import { runVoucherCommand } from "./voucher-command.ts";

const gateway = keyPairFromSeed(new Uint8Array(32).fill(1));
const OWNER = `0:${"11".repeat(32)}`;
const SECOND_OWNER = `0:${"22".repeat(32)}`;
const CONTRACT = `0:${"ab".repeat(32)}`;

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "cocoon-voucher-"));
  folders.push(path);
  return path;
}

function channelOf(owner: string): string {
  return workerChannelOf({ owner, gateway: CONTRACT, gatewayKey: gateway.publicKey }).address;
}

function voucherOf(owner: string, total: Nanoton, overrides: Partial<PayoutVoucher> = {}): SignedVoucher {
  const receipt = new Uint8Array(32).fill(5);
  const payload = { type: "payout", networkId: -3, channel: channelOf(owner), total, receipt, ...overrides } as const;
  return { boc: encodePayload(payload), signature: gateway.sign(payloadHash(payload)) };
}

/** A data folder with vouchers as a worker keeps them. */
async function dataWith(
  vouchers: readonly (readonly [owner: string, voucher: SignedVoucher])[],
  { networkId = -3, knowsContract = true } = {},
): Promise<string> {
  const path = join(folder(), "data");
  const disk = await openDataFolder(path);
  for (const [owner, voucher] of vouchers) {
    const keeper = await openAccount(
      { networkId, gatewayKey: gateway.publicKey, owner },
      { disk, verify: createVerifier() },
    );
    await keeper.take(voucher);
  }
  const contracts = await openGatewayContracts({ disk, networkId, gateways: [], registry: undefined });
  if (knowsContract) await contracts.learn([{ key: gateway.publicKey, contract: CONTRACT }]);
  disk.release();
  return path;
}

/** A file as `export` writes it. */
async function fileOf(...vouchers: readonly (readonly [string, SignedVoucher])[]): Promise<string> {
  const file = join(folder(), "vouchers.json");
  const data = await dataWith(vouchers);
  assert.equal((await run("export", file, "--data", data)).exitCode, 0);
  return file;
}

async function run(...args: readonly string[]) {
  return runVoucherCommand(args, { dataFolder: "/nowhere" });
}

async function runJson(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { exitCode, output } = await run(...args, "--json");
  assert.match(output, /^[^\n]+\n$/, "one line");
  return { exitCode, ...(JSON.parse(output) as Record<string, unknown>) };
}

test("what a worker holds goes to a file that is proved, and into another folder, owner by owner", async () => {
  const file = await fileOf([OWNER, voucherOf(OWNER, 700n)], [SECOND_OWNER, voucherOf(SECOND_OWNER, 5n)]);
  const verified = await runJson("verify", file);
  assert.deepEqual([verified.exitCode, verified.ok, verified.networkId], [0, true, -3]);
  const there = join(folder(), "data");
  const imported = await runJson("import", file, "--data", there);
  assert.equal(imported.exitCode, 0);
  const again = join(folder(), "again.json");
  await run("export", again, "--data", there);
  assert.equal(readFileSync(again, "utf8"), readFileSync(file, "utf8"));
});

test("in sentences it says whose each is, and that nobody else can use it", async () => {
  const file = await fileOf([OWNER, voucherOf(OWNER, 1_500_000_000n)]);
  const { output } = await run("verify", file);
  assert.match(output, /1 voucher for TON network -3, all of them signed/);
  assert.match(output, /1\.5 TON in all/);
  assert.ok(output.includes(OWNER) && output.includes(CONTRACT) && output.includes(toHex(gateway.publicKey)));
  const data = await dataWith([[OWNER, voucherOf(OWNER, 1n)]]);
  assert.match((await run("export", join(folder(), "x.json"), "--data", data)).output, /pays nobody but these owners/);
});

test("an import keeps the higher total of each owner", async () => {
  const file = await fileOf([OWNER, voucherOf(OWNER, 700n)], [SECOND_OWNER, voucherOf(SECOND_OWNER, 5n)]);
  const data = await dataWith([
    [OWNER, voucherOf(OWNER, 900n)],
    [SECOND_OWNER, voucherOf(SECOND_OWNER, 4n)],
  ]);
  const { vouchers } = await runJson("import", file, "--data", data);
  assert.deepEqual(
    (vouchers as Record<string, string>[]).map(({ outcome, totalNanoton }) => [outcome, totalNanoton]),
    [
      ["kept", "700"],
      ["imported", "5"],
    ],
  );
  const after = join(folder(), "after.json");
  await run("export", after, "--data", data);
  assert.deepEqual(totalsIn(after), ["900", "5"]);
  assert.match((await run("import", file, "--data", data)).output, /Imported 0 of 2 vouchers/);
});

function totalsIn(file: string): readonly string[] {
  const { vouchers } = JSON.parse(readFileSync(file, "utf8")) as { vouchers: { totalNanoton: string }[] };
  return vouchers.map(({ totalNanoton }) => totalNanoton);
}

type Edit = (file: Record<string, unknown>, first: Record<string, unknown>) => void;

const edited: readonly { readonly name: string; readonly edit: Edit; readonly code: string; readonly field: string }[] =
  [
    {
      name: "another total",
      edit: (_, first) => (first.totalNanoton = "800"),
      code: "voucher_mismatch",
      field: "vouchers[0].totalNanoton",
    },
    {
      name: "another channel",
      edit: (_, first) => (first.channel = `0:${"cd".repeat(32)}`),
      code: "voucher_mismatch",
      field: "vouchers[0].channel",
    },
    { name: "another network", edit: (file) => (file.networkId = -239), code: "voucher_mismatch", field: "networkId" },
    {
      name: "another owner",
      edit: (_, first) => (first.owner = SECOND_OWNER),
      code: "voucher_channel",
      field: "vouchers[0].owner",
    },
    {
      name: "another contract",
      edit: (_, first) => (first.contract = `0:${"cd".repeat(32)}`),
      code: "voucher_channel",
      field: "vouchers[0].owner",
    },
    {
      name: "another gateway",
      edit: (_, first) => (first.gatewayKey = "cd".repeat(32)),
      code: "voucher_signature",
      field: "vouchers[0].signature",
    },
    {
      name: "a higher voucher that nobody signed",
      edit: (_, first) => {
        first.totalNanoton = "800";
        first.boc = Buffer.from(
          encodePayload({
            type: "payout",
            networkId: -3,
            channel: channelOf(OWNER),
            total: 800n,
            receipt: new Uint8Array(32),
          }),
        ).toString("base64url");
      },
      code: "voucher_signature",
      field: "vouchers[0].signature",
    },
    {
      name: "half a voucher",
      edit: (_, first) => (first.boc = String(first.boc).slice(0, 60)),
      code: "voucher_format",
      field: "vouchers[0].boc",
    },
    {
      name: "a total with a sign",
      edit: (_, first) => (first.totalNanoton = "-700"),
      code: "voucher_format",
      field: "vouchers[0].totalNanoton",
    },
    { name: "a key too many", edit: (_, first) => (first.note = "mine"), code: "voucher_format", field: "vouchers[0]" },
    { name: "no vouchers", edit: (file) => delete file.vouchers, code: "voucher_format", field: "vouchers" },
    { name: "another version", edit: (file) => (file.v = 2), code: "voucher_format", field: "v" },
    {
      name: "the same owner twice",
      edit: (file) => (file.vouchers as unknown[]).push((file.vouchers as unknown[])[0]),
      code: "voucher_format",
      field: "vouchers[1]",
    },
  ];
for (const { name, edit, code, field } of edited) {
  test(`a file that was edited to have ${name} is refused with a code and the field, and nothing of it is taken`, async () => {
    const file = await fileOf([OWNER, voucherOf(OWNER, 700n)]);
    const content = JSON.parse(readFileSync(file, "utf8")) as { vouchers: Record<string, unknown>[] };
    edit(content, content.vouchers[0] ?? {});
    writeFileSync(file, JSON.stringify(content));
    for (const verb of ["verify", "import"]) {
      const data = join(folder(), "data");
      const refused = await runJson(verb, file, "--data", data);
      assert.deepEqual([refused.exitCode, refused.ok, refused.code, refused.field], [1, false, code, field]);
    }
  });
}

for (const [name, content] of [
  ["text", "dear diary"],
  ["nothing", ""],
  ["half a file", '{"format":"cocoon-vouchers","v":1,'],
  ["bytes that are no text", Buffer.from([0xff, 0xfe, 0x00])],
  ["a list", "[]"],
  ["one key twice", '{"v":1,"v":1}'],
  ["too much", " ".repeat(1_048_577)],
] as const) {
  test(`a file with ${name} is refused`, async () => {
    const file = join(folder(), "file");
    writeFileSync(file, content);
    assert.deepEqual((await runJson("verify", file)).code, "voucher_format");
    const { exitCode, complaint, output } = await run("verify", file);
    assert.deepEqual([exitCode, output], [1, ""]);
    assert.match(complaint, /choose the file as it was exported/);
  });
}

test("a voucher of a client's channel is none", async () => {
  const file = await fileOf([OWNER, voucherOf(OWNER, 700n)]);
  const content = JSON.parse(readFileSync(file, "utf8")) as { vouchers: Record<string, unknown>[] };
  const payload = {
    type: "charge",
    networkId: -3,
    channel: channelOf(OWNER),
    total: 700n,
    receipt: new Uint8Array(32),
  } as const;
  const [first = {}] = content.vouchers;
  first.boc = Buffer.from(encodePayload(payload)).toString("base64url");
  writeFileSync(file, JSON.stringify(content));
  assert.deepEqual((await runJson("verify", file)).field, "vouchers[0].boc");
});

test("without a contract nobody can tell whose channel it is, and the report says so", async () => {
  const data = await dataWith([[OWNER, voucherOf(OWNER, 700n)]], { knowsContract: false });
  const file = join(folder(), "file.json");
  await run("export", file, "--data", data);
  assert.match((await run("verify", file)).output, /whose channel it is cannot be checked/);
});

test("another voucher with the total of the one that is kept is not taken", async () => {
  const file = await fileOf([OWNER, voucherOf(OWNER, 700n, { receipt: new Uint8Array(32).fill(9) })]);
  const data = await dataWith([[OWNER, voucherOf(OWNER, 700n)]]);
  assert.equal((await runJson("import", file, "--data", data)).code, "promise_fell");
});

test("a folder with vouchers of several networks is exported one network at a time", async () => {
  const path = await dataWith([[OWNER, voucherOf(OWNER, 700n)]]);
  const disk = await openDataFolder(path);
  const keeper = await openAccount(
    { networkId: 7, gatewayKey: gateway.publicKey, owner: OWNER },
    { disk, verify: createVerifier() },
  );
  await keeper.take(voucherOf(OWNER, 3n, { networkId: 7 }));
  disk.release();
  const file = join(folder(), "file.json");
  assert.match((await run("export", file, "--data", path)).complaint, /networks -3 and 7: choose one/);
  assert.equal((await run("export", file, "--data", path, "--network", "-3")).exitCode, 0);
  assert.deepEqual(totalsIn(file), ["700"]);
});

test("an export never takes the place of a file that is there: it may hold more", async () => {
  const file = await fileOf([OWNER, voucherOf(OWNER, 700n)]);
  const data = await dataWith([[OWNER, voucherOf(OWNER, 1n)]]);
  const { exitCode, complaint } = await run("export", file, "--data", data);
  assert.equal(exitCode, 1);
  assert.match(complaint, /there already/);
  assert.deepEqual(totalsIn(file), ["700"]);
});

test("nothing is imported into a folder that a worker uses, and a running worker's vouchers can be exported", async () => {
  const file = await fileOf([OWNER, voucherOf(OWNER, 700n)]);
  const data = await dataWith([[OWNER, voucherOf(OWNER, 1n)]]);
  const running = await openDataFolder(data);
  assert.match((await run("import", file, "--data", data)).complaint, /another worker/);
  assert.equal((await run("export", join(folder(), "x.json"), "--data", data)).exitCode, 0);
  running.release();
});

test("a folder without vouchers, and a file that is not there, are said", async () => {
  const empty = folder();
  assert.match((await run("export", join(folder(), "x"), "--data", empty)).complaint, /no vouchers/);
  assert.match((await run("export", join(folder(), "x"), "--data", join(empty, "none"))).complaint, /storage_failed/);
  const { exitCode, complaint } = await run("verify", join(empty, "none.json"));
  assert.equal(exitCode, 1);
  assert.match(complaint, /cannot be read/);
});

test("a damaged account in the folder is said and not passed over", async () => {
  const data = folder();
  mkdirSync(data, { recursive: true });
  writeFileSync(join(data, `voucher--3-${toHex(gateway.publicKey).slice(0, 16)}-${"11".repeat(8)}.json`), "{");
  assert.match((await run("export", join(folder(), "x"), "--data", data)).complaint, /is damaged/);
});

for (const args of [
  ["steal", "x"],
  ["verify"],
  ["verify", "a", "b"],
  ["verify", "a", "--loud"],
  ["export", "a", "--network", "x"],
]) {
  test(`"${args.join(" ")}" is not understood, and says what is`, async () => {
    const { exitCode, complaint } = await run(...args);
    assert.equal(exitCode, 2);
    assert.match(complaint, /Usage: npm run voucher/);
    assert.equal((await runJson(...args)).ok, false);
  });
}

test("without a word, or asked for help, it says what it does", async () => {
  for (const args of [[], ["--help"]]) assert.match((await run(...args)).output, /proves every voucher/);
});
