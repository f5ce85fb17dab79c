import type { Clock } from "./clock.ts";
import type { Owner } from "./link.ts";
import type { VoucherKeeper } from "./vouchers.ts";

/** Whom a worker earns for at one gateway: the present owner, the one who comes next, and those of before. */
export interface GatewayOwners {
  /** The present owner's. */
  readonly vouchers: VoucherKeeper;
  /** The present owner's first, then those of former owners: theirs stay theirs. */
  readonly keepers: readonly VoucherKeeper[];
  /** While another owner is to come nothing new is begun for the present one. */
  readonly isChanging: boolean;
  /** The keeper this owner has or had here; one file is never open twice. */
  keeperOf(owner: string): Promise<VoucherKeeper>;
  /** Another owner comes, with the keeper of {@link keeperOf}. */
  expect(owner: Owner, vouchers: VoucherKeeper): void;
  /**
   * Who is to log in now, with whose keeper from now on; undefined while nobody is. Called now and then: what was sent
   * in the turn of an answer's end needs time to leave, so a link must be idle at two looks.
   */
  take(link: { readonly isReady: boolean; readonly isIdle: boolean }): Owner | undefined;
}

export interface GatewayOwnersOptions {
  readonly present: VoucherKeeper;
  readonly former: readonly VoucherKeeper[];
  readonly open: (owner: string) => Promise<VoucherKeeper>;
  readonly clock: Clock;
  /** What was earned without an owner has become this one's. */
  onNamed(owner: string): void;
  onSaveFailed(error: unknown): void;
}

/** A gateway vouchers what was earned within seconds; after this the rest waits for the former owner at the gateway. */
const LAST_VOUCHERS_MS = 15_000;

interface Next {
  readonly owner: Owner;
  readonly vouchers: VoucherKeeper;
  /** Elapsed ms. */
  readonly since: number;
  wasIdle: boolean;
}

export function createGatewayOwners(options: GatewayOwnersOptions): GatewayOwners {
  return new OwnersInTurn(options);
}

class OwnersInTurn implements GatewayOwners {
  readonly #options: GatewayOwnersOptions;
  #present: VoucherKeeper;
  #former: readonly VoucherKeeper[];
  #next: Next | undefined;

  constructor(options: GatewayOwnersOptions) {
    this.#options = options;
    this.#present = options.present;
    this.#former = options.former;
  }

  get vouchers(): VoucherKeeper {
    return this.#present;
  }

  get keepers(): readonly VoucherKeeper[] {
    return [this.#present, ...this.#former];
  }

  get isChanging(): boolean {
    return this.#next !== undefined;
  }

  async keeperOf(owner: string): Promise<VoucherKeeper> {
    const open = [...this.keepers, this.#next?.vouchers].find((keeper) => keeper?.owner === owner);
    return open ?? this.#options.open(owner);
  }

  expect(owner: Owner, vouchers: VoucherKeeper): void {
    this.#next = { owner, vouchers, since: this.#options.clock.elapsed(), wasIdle: false };
  }

  take({ isReady, isIdle }: { readonly isReady: boolean; readonly isIdle: boolean }): Owner | undefined {
    const next = this.#next;
    if (next === undefined || (isReady && !this.#isDone(next, isIdle))) return undefined;
    this.#next = undefined;
    if (next.vouchers !== this.#present) this.#succeed(next.vouchers);
    return next.owner;
  }

  /** Whether nothing more is to come for the present owner over the link. */
  #isDone(next: Next, isIdle: boolean): boolean {
    const isQuiet = isIdle && next.wasIdle;
    next.wasIdle = isIdle;
    if (!isQuiet) return false;
    const isOwed = this.#present.owner !== "" && this.#present.report().behind > 0n;
    return !isOwed || this.#options.clock.elapsed() - next.since >= LAST_VOUCHERS_MS;
  }

  #succeed(to: VoucherKeeper): void {
    const from = this.#present;
    const others = this.#former.filter((keeper) => keeper !== to);
    if (from.owner === "") {
      from.moveCountTo(to);
      this.#options.onNamed(to.owner);
    }
    this.#former = from.owner === "" ? others : [from, ...others];
    this.#present = to;
    for (const keeper of [from, to]) keeper.save().catch(this.#options.onSaveFailed);
  }
}
