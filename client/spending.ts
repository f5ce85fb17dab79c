import { COIN_NAME, Failure, formatTon, type Nanoton } from "../protocol/index.ts";

/** What a person allows this client to spend through its channel, in nanoton; left out: no limit but the deposit. */
export interface SpendingCap {
  /** A day ends at midnight UTC. */
  readonly perDay?: Nanoton;
  /** Charges since the channel was first opened, and whatever is deposited for more. */
  readonly inAll?: Nanoton;
}

/** Where a channel's spending stands. */
export interface Spending {
  /** Countersigned, cumulative. */
  readonly total: Nanoton;
  /** The total with which this day began. */
  readonly dayStart: Nanoton;
  /** What streams whose receipt has not come may cost at most. */
  readonly open: Nanoton;
}

const DAY_MS = 86_400_000;

/** Days since 1970, UTC. */
export function dayOf(unixMs: number): number {
  return Math.floor(unixMs / DAY_MS);
}

/** Whether what comes next stays within the cap even at its worst. */
export function fitsCap(cap: SpendingCap, spending: Spending, worst: Nanoton): boolean {
  return shortOf(cap, spending, worst) === undefined;
}

/** @throws {Failure} `spending_cap`, with what is left of which cap. */
export function checkCap(cap: SpendingCap, spending: Spending, worst: Nanoton): void {
  const short = shortOf(cap, spending, worst);
  if (short === undefined) return;
  const most = formatTon(short.left > 0n ? short.left : 0n);
  const detail = `it could cost ${formatTon(worst)} ${COIN_NAME}, and ${most} ${COIN_NAME} of the cap are left ${short.of}`;
  throw new Failure("spending_cap", detail);
}

/** The cap that would be passed, and what is left of it. */
function shortOf(
  { perDay, inAll }: SpendingCap,
  { total, dayStart, open }: Spending,
  worst: Nanoton,
): { readonly of: string; readonly left: Nanoton } | undefined {
  const today = perDay === undefined ? worst : perDay - (total - dayStart) - open;
  if (worst > today) return { of: "today", left: today };
  const ever = inAll === undefined ? worst : inAll - total - open;
  return worst > ever ? { of: "in all", left: ever } : undefined;
}
