import { COIN_NAME, formatTon, toHex, type Nanoton } from "../protocol/index.ts";
import type { ExportedVoucher, ImportedVoucher, VoucherFile } from "./control/voucher-file.ts";

/** What the voucher command found or did. */
export type VoucherReport =
  | ({ readonly type: "verify" } & VoucherFile)
  | ({ readonly type: "export" } & VoucherFile)
  | { readonly type: "import"; readonly networkId: number; readonly vouchers: readonly ImportedVoucher[] };

/** For programs: what stands in the sentences, one object. */
export function plainReport(report: VoucherReport): Readonly<Record<string, unknown>> {
  const { type, networkId } = report;
  const vouchers =
    report.type === "import"
      ? report.vouchers.map(({ gatewayKey, owner, total, outcome }) => ({
          gatewayKey: toHex(gatewayKey),
          owner,
          totalNanoton: total,
          outcome,
        }))
      : report.vouchers.map(({ gatewayKey, contract, owner, payout }) => ({
          gatewayKey: toHex(gatewayKey),
          contract: contract ?? null,
          owner,
          channel: payout.channel,
          totalNanoton: payout.total,
          isOwnerChecked: contract !== undefined,
        }));
  return { ok: true, type, networkId, vouchers };
}

export function verifyWords({ networkId, vouchers }: VoucherFile): string {
  const head = `${counted(vouchers.length)} for TON network ${networkId}, all of them signed by the gateway they name.`;
  return lines([head, ...vouchers.flatMap(voucherWords), advice(vouchers)]);
}

export function exportWords({ networkId, vouchers }: VoucherFile): string {
  const head = `Exported ${counted(vouchers.length)} for TON network ${networkId}.`;
  const safety = "The file pays nobody but these owners, whoever holds it. Keep it where this computer's disk is not.";
  return lines([head, ...vouchers.flatMap(voucherWords), safety]);
}

export function importWords({ vouchers }: { readonly vouchers: readonly ImportedVoucher[] }): string {
  const imported = vouchers.filter(({ outcome }) => outcome === "imported").length;
  return lines([
    `Imported ${imported} of ${counted(vouchers.length)}; the others were not higher than what is kept here.`,
    ...vouchers.map(
      ({ gatewayKey, owner, total, outcome }) =>
        `  ${outcome === "imported" ? "imported" : "kept what was there instead of"} ${coins(total)} from gateway ${toHex(gatewayKey).slice(0, 16)} to ${owner}`,
    ),
  ]);
}

function voucherWords({ gatewayKey, contract, owner, payout }: ExportedVoucher): readonly string[] {
  return [
    `  ${coins(payout.total)} in all, of which the chain may have paid some`,
    `    to owner   ${owner}`,
    `    gateway    ${toHex(gatewayKey)}`,
    `    contract   ${contract ?? "not known: whose channel it is cannot be checked here"}`,
    `    channel    ${payout.channel}`,
  ];
}

function advice(vouchers: readonly ExportedVoucher[]): string {
  return vouchers.every(({ contract }) => contract !== undefined)
    ? "Each is for its owner's own channel."
    : "Those without a contract could be for any channel; ask the gateway for its contract's address.";
}

function counted(count: number): string {
  return `${count} ${count === 1 ? "voucher" : "vouchers"}`;
}

function coins(amount: Nanoton): string {
  return `${formatTon(amount)} ${COIN_NAME}`;
}

function lines(all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
