import * as z from "zod";
import {
  bytesField,
  Failure,
  parseStrictJson,
  stringify,
  utf8,
  type OwnerProof,
  type RawAddress,
} from "../../protocol/index.ts";
import type { Disk } from "../serving/disk.ts";
import type { Owner } from "../serving/link.ts";

/**
 * Whom a worker earns for, and whom it earned for before: by the addresses in it the vouchers of former owners are found
 * again. No secret is in it.
 */
export interface OwnerBook {
  current(): Owner | undefined;
  /** Not the current one. */
  former(): readonly RawAddress[];
  /** On the disk when it resolves. @throws {Failure} `disk_full`, `storage_failed`: then nothing has changed. */
  name(owner: Owner): Promise<void>;
}

const FILE = "owners.json";

const address = z.string().regex(/^0:[0-9a-f]{64}$/);
const proofSchema = z.strictObject({
  address,
  stateInit: bytesField(undefined, 8192),
  domain: z.string().max(253),
  timestamp: z.int().nonnegative(),
  signature: bytesField(64),
});
const fileSchema = z.strictObject({
  v: z.literal(1),
  /** The newest last. */
  owners: z.array(z.strictObject({ networkId: z.int(), address, proof: proofSchema.nullable() })),
});
type Named = z.output<typeof fileSchema>["owners"][number];

/**
 * Gateways take no older proof (`MAX_PROOF_AGE_SECONDS` of contracts/, less a day on the way). One that is shown too late
 * would have the login refused; without it a new gateway books to "not yet named" until the wallet is connected again.
 */
const MAX_PROOF_AGE_SECONDS = 29 * 86_400;

/**
 * The owners of one network.
 *
 * @throws {Failure} `storage_failed` when the file is damaged: going on without it would lose former owners' vouchers
 *   from sight.
 */
export async function openOwnerBook(
  disk: Disk,
  { networkId, now }: { readonly networkId: number; readonly now: () => number },
): Promise<OwnerBook> {
  let owners = await read(disk);
  const here = (): readonly Named[] => owners.filter((owner) => owner.networkId === networkId);
  return {
    current() {
      const newest = here().at(-1);
      return newest === undefined ? undefined : ownerOf(newest, now());
    },
    former: () =>
      here()
        .slice(0, -1)
        .map((owner) => owner.address),
    async name({ address, proof }) {
      const known = here().find((owner) => owner.address === address);
      const named = { networkId, address, proof: proof ?? known?.proof ?? null };
      const changed = [...owners.filter((owner) => owner !== known), named];
      await disk.write(FILE, utf8(stringify({ v: 1, owners: changed })));
      owners = changed;
    },
  };
}

function ownerOf({ address, proof }: Named, now: number): Owner {
  return proof === null || isTooOld(proof, now) ? { address } : { address, proof };
}

function isTooOld({ timestamp }: OwnerProof, now: number): boolean {
  return now / 1000 - timestamp > MAX_PROOF_AGE_SECONDS;
}

async function read(disk: Disk): Promise<readonly Named[]> {
  const bytes = await disk.read(FILE);
  if (bytes === undefined) return [];
  try {
    return parseStrictJson(fileSchema, bytes, "storage_failed").owners;
  } catch (cause) {
    throw new Failure("storage_failed", `${FILE} is damaged: restore it, or remove it and connect the wallet again`, {
      cause,
    });
  }
}
