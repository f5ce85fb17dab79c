import { access, readFile, rename, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { codeOf, Failure, FAILURE_TEXT, stringify } from "../protocol/index.ts";
import { openGatewayContracts, readGatewayContracts } from "./control/gateway-contracts.ts";
import { encodeVoucherFile, parseVoucherFile, RefusedVoucherFile } from "./control/voucher-file.ts";
import { exported, importVouchers, openAccount, readAccounts, vouchersIn } from "./control/voucher-shelf.ts";
import { openDataFolder, readDataFolder } from "./serving/data-folder.ts";
import { networksOf } from "./serving/kept-account.ts";
import { createVerifier } from "./serving/identity.ts";
import { exportWords, importWords, plainReport, verifyWords, type VoucherReport } from "./voucher-words.ts";

export interface VoucherCommandResult {
  /** 0 done, 1 refused, 2 not understood. */
  readonly exitCode: 0 | 1 | 2;
  /** For standard output. */
  readonly output: string;
  /** For standard error. */
  readonly complaint: string;
}

export const VOUCHER_USAGE = `Usage: npm run voucher -- verify|export|import FILE [options]

  verify FILE     proves every voucher in a file: signature, network, total, and whose channel it is for
  export FILE     writes the newest vouchers of a data folder to a file that pays nobody but their owners
  import FILE     takes every voucher that is higher than the one a data folder has

  --data DIR      the worker's data folder
  --network N     TON network id to export, where the folder has vouchers of more than one
  --json          one line of JSON instead of sentences
`;

/** Never throws for what a person can get wrong. */
export async function runVoucherCommand(
  args: readonly string[],
  { dataFolder }: { readonly dataFolder: string },
): Promise<VoucherCommandResult> {
  const isJson = args.includes("--json");
  try {
    const order = parse(args);
    if (order === undefined) return { exitCode: 0, output: VOUCHER_USAGE, complaint: "" };
    const report = await perform({ ...order, dataFolder: order.dataFolder ?? dataFolder });
    return {
      exitCode: 0,
      output: isJson ? `${stringify(plainReport(report))}\n` : wordsFor(report),
      complaint: "",
    };
  } catch (error) {
    return refusalOf(error, isJson);
  }
}

type Verb = VoucherReport["type"];

interface Order {
  readonly verb: Verb;
  readonly file: string;
  readonly dataFolder: string | undefined;
  readonly network: number | undefined;
}

class UsageError extends Error {}

/** Undefined when help is asked for. */
function parse(args: readonly string[]): Order | undefined {
  const { values, positionals } = readArgs(args);
  if (values.help === true || args.length === 0) return undefined;
  const [verb, file, ...rest] = positionals;
  if (verb !== "verify" && verb !== "export" && verb !== "import")
    throw new UsageError(`"${verb ?? ""}" is not a command: verify, export or import`);
  if (file === undefined || rest.length > 0) throw new UsageError(`${verb} needs one file`);
  const { data: dataFolder, network } = values;
  if (network !== undefined && !/^-?\d{1,10}$/.test(network))
    throw new UsageError(`--network ${network}: a whole number, as -239`);
  return { verb, file: resolve(file), dataFolder, network: network === undefined ? undefined : Number(network) };
}

function readArgs(args: readonly string[]) {
  // `--network -3` is what people write; parseArgs wants `--network=-3`.
  const joined = args.flatMap((arg, at) => {
    if (args[at - 1] === "--network" && /^-\d/.test(arg)) return [];
    const next = args[at + 1];
    return arg === "--network" && next !== undefined && /^-\d/.test(next) ? [`${arg}=${next}`] : [arg];
  });
  const options = {
    data: { type: "string" },
    network: { type: "string" },
    json: { type: "boolean" },
    help: { type: "boolean" },
  } as const;
  try {
    return parseArgs({ args: joined, options, allowPositionals: true });
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : "the options cannot be read", { cause });
  }
}

function perform(order: Order & { readonly dataFolder: string }): Promise<VoucherReport> {
  switch (order.verb) {
    case "verify":
      return verifyFile(order.file);
    case "export":
      return exportTo(order);
    case "import":
      return importFrom(order);
  }
}

async function verifyFile(path: string): Promise<VoucherReport> {
  return { type: "verify", ...parseVoucherFile(await read(path), createVerifier()) };
}

async function exportTo({
  file,
  dataFolder,
  network,
}: Order & { readonly dataFolder: string }): Promise<VoucherReport> {
  await refuseExisting(file);
  const disk = readDataFolder(dataFolder);
  const networks = networksOf(await disk.names());
  const networkId = network ?? networks[0];
  if (networkId === undefined) throw new Failure("bad_configuration", `there are no vouchers in ${dataFolder}`);
  if (network === undefined && networks.length > 1)
    throw new Failure("bad_configuration", `vouchers of networks ${networks.join(" and ")}: choose one with --network`);
  const contracts = await readGatewayContracts(disk, networkId);
  const vouchers = exported(vouchersIn(await readAccounts(disk, networkId), createVerifier()), contracts);
  if (vouchers.length === 0) throw new Failure("bad_configuration", `there are no vouchers in ${dataFolder}`);
  const bytes = encodeVoucherFile({ networkId, vouchers });
  await writeFile(`${file}.new`, bytes, { flush: true });
  await rename(`${file}.new`, file);
  return { type: "export", networkId, vouchers };
}

async function importFrom({ file, dataFolder }: Order & { readonly dataFolder: string }): Promise<VoucherReport> {
  const verify = createVerifier();
  const content = parseVoucherFile(await read(file), verify);
  const { networkId, vouchers } = content;
  const disk = await openDataFolder(dataFolder);
  try {
    const contracts = await openGatewayContracts({ disk, networkId, gateways: [], registry: undefined });
    const imported = await importVouchers(content, (account) => openAccount(account, { disk, verify }));
    await contracts.learn(
      vouchers.flatMap(({ gatewayKey: key, contract }) => (contract === undefined ? [] : { key, contract })),
    );
    return { type: "import", networkId, vouchers: imported };
  } finally {
    disk.release();
  }
}

async function read(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new Failure("storage_failed", `${path} cannot be read`, { cause });
  }
}

/** An older backup may hold more than the data folder does now. */
async function refuseExisting(path: string): Promise<void> {
  const isThere = await access(path).then(
    () => true,
    () => false,
  );
  if (isThere) throw new Failure("bad_configuration", `${path} is there already: choose another name`);
}

function wordsFor(report: VoucherReport): string {
  switch (report.type) {
    case "verify":
      return verifyWords(report);
    case "export":
      return exportWords(report);
    case "import":
      return importWords(report);
  }
}

function refusalOf(error: unknown, isJson: boolean): VoucherCommandResult {
  const isUsage = error instanceof UsageError;
  const code = isUsage ? "bad_configuration" : codeOf(error);
  const message = error instanceof Error ? error.message : "unknown";
  const exitCode = isUsage ? 2 : 1;
  if (isJson) {
    const field = error instanceof RefusedVoucherFile ? error.field : "";
    return { exitCode, output: `${stringify({ ok: false, code, field, message })}\n`, complaint: "" };
  }
  return {
    exitCode,
    output: "",
    complaint: isUsage ? `${message}\n\n${VOUCHER_USAGE}` : `${message}\n${FAILURE_TEXT[code]}\n`,
  };
}
