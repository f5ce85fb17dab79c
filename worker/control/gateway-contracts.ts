import * as z from "zod";
import type { ChainReader } from "../../contracts/chain-reader.ts";
import { equalBytes, Failure, key32, parseStrictJson, stringify, utf8, type RawAddress } from "../../protocol/index.ts";
import type { Disk } from "../serving/disk.ts";
import type { GatewayAddress } from "../serving/gateway-address.ts";

/** Where each gateway's contract stands: as the owner said, as the registry says, or as it was known before. */
export interface GatewayContracts {
  of(gateway: Pick<GatewayAddress, "key">): RawAddress | undefined;
  /** Whether a gateway is still to be looked for in the registry. */
  readonly isLooking: boolean;
  /**
   * Looks in the registry for those that are not known; resolves with whether there is a new one.
   *
   * @throws {Failure} those of the chain; `gateway_contract` for a registry of contracts that this version does not know.
   */
  lookUp(reader: Pick<ChainReader, "get">): Promise<boolean>;
  /** Where somebody else said a contract stands. @throws {Failure} `disk_full`, `storage_failed`. */
  learn(found: readonly KnownContract[]): Promise<void>;
}

export interface KnownContract {
  /** 32 bytes. */
  readonly key: Uint8Array;
  readonly contract: RawAddress;
}

export interface GatewayContractsOptions {
  readonly disk: Disk;
  readonly networkId: number;
  readonly gateways: readonly GatewayAddress[];
  readonly registry: RawAddress | undefined;
}

const FILE = "gateways.json";

const fileSchema = z.strictObject({
  v: z.literal(1),
  gateways: z.array(z.strictObject({ networkId: z.int(), key: key32, contract: z.string().regex(/^0:[0-9a-f]{64}$/) })),
});

type Known = z.output<typeof fileSchema>["gateways"][number];

/** Where contracts were known to stand, without looking further. A damaged file is empty: the registry has it all. */
export async function readGatewayContracts(
  disk: Pick<Disk, "read">,
  networkId: number,
): Promise<Pick<GatewayContracts, "of">> {
  const known = await read(disk);
  return { of: ({ key }) => contractIn(known, networkId, key) };
}

/** @throws {Failure} `disk_full`, `storage_failed`. */
export async function openGatewayContracts(options: GatewayContractsOptions): Promise<GatewayContracts> {
  const contracts = new ContractBook(options, await read(options.disk));
  await contracts.learn(
    options.gateways.flatMap(({ key, contract }) => (contract === undefined ? [] : [{ key, contract }])),
  );
  return contracts;
}

class ContractBook implements GatewayContracts {
  readonly #options: GatewayContractsOptions;
  #known: readonly Known[];
  /** Whether the registry was read since the start: who is not in it will not be in it in a minute. */
  #wasAsked = false;

  constructor(options: GatewayContractsOptions, known: readonly Known[]) {
    this.#options = options;
    this.#known = known;
  }

  of({ key }: Pick<GatewayAddress, "key">): RawAddress | undefined {
    return contractIn(this.#known, this.#options.networkId, key);
  }

  get isLooking(): boolean {
    const { registry, gateways } = this.#options;
    return registry !== undefined && !this.#wasAsked && gateways.some((gateway) => this.of(gateway) === undefined);
  }

  async lookUp(reader: Pick<ChainReader, "get">): Promise<boolean> {
    const { registry, networkId, gateways } = this.#options;
    if (registry === undefined || !this.isLooking) return false;
    const { readListedGateways } = await import("./registry-reading.ts");
    const listed = await readListedGateways(reader, registry, networkId);
    this.#wasAsked = true;
    const found = gateways.flatMap((gateway) => {
      const entry = listed.find(({ key }) => equalBytes(key, gateway.key));
      return entry === undefined || this.of(gateway) !== undefined ? [] : [entry];
    });
    await this.learn(found);
    return found.length > 0;
  }

  async learn(found: readonly KnownContract[]): Promise<void> {
    const fresh = found.filter((one) => this.of(one) !== one.contract);
    if (fresh.length === 0) return;
    const { networkId, disk } = this.#options;
    const isReplaced = (known: Known): boolean =>
      known.networkId === networkId && fresh.some(({ key }) => equalBytes(key, known.key));
    const others = this.#known.filter((known) => !isReplaced(known));
    this.#known = [...others, ...fresh.map(({ key, contract }) => ({ networkId, key, contract }))];
    await disk.write(FILE, utf8(stringify({ v: 1, gateways: this.#known })));
  }
}

function contractIn(all: readonly Known[], networkId: number, key: Uint8Array): RawAddress | undefined {
  return all.find((known) => known.networkId === networkId && equalBytes(known.key, key))?.contract;
}

async function read(disk: Pick<Disk, "read">): Promise<readonly Known[]> {
  const bytes = await disk.read(FILE);
  if (bytes === undefined) return [];
  try {
    return parseStrictJson(fileSchema, bytes, "storage_failed").gateways;
  } catch (error) {
    if (error instanceof Failure) return [];
    throw error;
  }
}
