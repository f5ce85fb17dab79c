import { toHex, type PayoutVoucher, type RawAddress, type SignedVoucher, type Verify } from "../../protocol/index.ts";
import type { Disk } from "../serving/disk.ts";
import { isAccountFile, parseAccount, type AccountKey, type KeptAccount } from "../serving/kept-account.ts";
import { checkedPayout } from "../serving/voucher-check.ts";
import { openVoucherKeeper, type VoucherKeeper } from "../serving/vouchers.ts";
import type { GatewayContracts } from "./gateway-contracts.ts";
import type { ExportedVoucher, ImportedVoucher, VoucherFile } from "./voucher-file.ts";

/** What a gateway has promised an owner. */
export interface HeldVoucher {
  /** 32 bytes. */
  readonly gatewayKey: Uint8Array;
  readonly owner: RawAddress;
  readonly voucher: SignedVoucher;
  readonly payout: PayoutVoucher;
}

/**
 * Every account of one network in a data folder, whatever the settings say now: of gateways that were left and of owners who
 * were followed by others, too.
 *
 * @throws {Failure} `storage_failed` for a damaged one.
 */
export async function readAccounts(
  disk: Pick<Disk, "read" | "names">,
  networkId: number,
): Promise<readonly KeptAccount[]> {
  const accounts: KeptAccount[] = [];
  for (const name of [...(await disk.names())].sort()) {
    if (!isAccountFile(name, networkId)) continue;
    const bytes = await disk.read(name);
    if (bytes !== undefined) accounts.push(parseAccount(bytes, name));
  }
  return accounts;
}

/** @throws {Failure} `storage_failed` for a voucher that is not its gateway's. */
export function vouchersIn(accounts: readonly KeptAccount[], verify: Verify): readonly HeldVoucher[] {
  return accounts.flatMap(({ networkId, gatewayKey, owner, voucher }) =>
    voucher === null || owner === ""
      ? []
      : [
          {
            gatewayKey,
            owner,
            voucher,
            payout: checkedPayout(voucher, { networkId, gatewayKey, verify }, "storage_failed"),
          },
        ],
  );
}

/** An account that no setting names any more, or that a file brings. */
export function openAccount(
  { networkId, gatewayKey, owner }: AccountKey,
  { disk, verify }: { readonly disk: Disk; readonly verify: Verify },
): Promise<VoucherKeeper> {
  return openVoucherKeeper({ networkId, gatewayKey, owner, channel: undefined, counted: 0n, disk, verify });
}

/** Tells accounts apart. */
export function accountId({ networkId, gatewayKey, owner }: AccountKey): string {
  return `${networkId} ${toHex(gatewayKey)} ${owner}`;
}

export function exported(
  vouchers: readonly HeldVoucher[],
  contracts: Pick<GatewayContracts, "of">,
): readonly ExportedVoucher[] {
  return vouchers.map((held) => ({ ...held, contract: contracts.of({ key: held.gatewayKey }) }));
}

/**
 * Takes each voucher of a checked file that is higher than what is kept. `keeperOf` gives the account it belongs to.
 *
 * @throws {Failure} `promise_fell` for another voucher with the total of the one that is kept; `bad_message` for one of
 *   another channel; `disk_full`, `storage_failed`.
 */
export async function importVouchers(
  { networkId, vouchers }: VoucherFile,
  keeperOf: (account: AccountKey) => Promise<VoucherKeeper>,
): Promise<readonly ImportedVoucher[]> {
  const imported: ImportedVoucher[] = [];
  for (const { gatewayKey, owner, voucher, payout } of vouchers) {
    const keeper = await keeperOf({ networkId, gatewayKey, owner });
    const { total } = payout;
    const before = keeper.payout()?.total ?? 0n;
    if (total >= before) await keeper.take(voucher);
    imported.push({ gatewayKey, owner, total, outcome: total > before ? "imported" : "kept" });
  }
  return imported;
}
