import type { FailureCode, GatewayToClient, MessageOf, Nanoton } from "../protocol/index.ts";
import type { ClientChannelView } from "./channels.ts";
import { TRIAL } from "./limits.ts";

/** Whether a client may run up more (NETWORK §4.4, §4.5, §4.8). Pure; each returns the code of a refusal. */

export interface ChannelExposure {
  readonly channel: ClientChannelView | undefined;
  /** Worst case of the reservation asked for. */
  readonly hold: Nanoton;
  /** Worst case of those that are open. */
  readonly openHolds: Nanoton;
  readonly countersigned: Nanoton;
  /** Charged here above the countersigned total. */
  readonly uncountersigned: Nanoton;
  /** Disputes of the last day that no countersignature closed. */
  readonly openDisputes: number;
}

const MOST_OPEN_DISPUTES = 3;

export function refusalByCredit(exposure: ChannelExposure): FailureCode | undefined {
  const { channel } = exposure;
  if (channel === undefined || channel.isClosing) return "payment_required";
  if (exposure.openDisputes > MOST_OPEN_DISPUTES) return "payment_required";
  const wanted = exposure.openHolds + exposure.uncountersigned + exposure.hold;
  if (wanted > channel.creditLimit) return "payment_required";
  // The chain may have seen more than this ledger knows of, when that is older: it is spent all the same.
  const { charged, acked } = channel;
  const here = exposure.countersigned + exposure.uncountersigned;
  const spent = [charged, acked, here].reduce((most, total) => (total > most ? total : most));
  const left = channel.balance + charged - spent;
  return exposure.openHolds + exposure.hold <= left ? undefined : "payment_required";
}

type TrialLeft = NonNullable<MessageOf<GatewayToClient, "welcome">["trial"]>;

export interface TrialExposure {
  readonly hold: Nanoton;
  readonly maxCompletionTokens: number;
  /** Charged to this key so far, and held by its open reservations. */
  readonly keyPaid: Nanoton;
  readonly keyTokens: number;
  /** Charged and held today over all keys. */
  readonly dayPaid: Nanoton;
  /** Other keys that came from the same address block today. */
  readonly otherKeysOfBlock: number;
}

export function refusalByTrial(trial: TrialExposure): FailureCode | undefined {
  const isOver =
    trial.keyTokens + trial.maxCompletionTokens > TRIAL.completionTokens ||
    trial.keyPaid + trial.hold > TRIAL.perKey ||
    trial.dayPaid + trial.hold > TRIAL.perGatewayDay ||
    trial.otherKeysOfBlock >= TRIAL.keysPerBlockDay;
  return isOver ? "trial_exhausted" : undefined;
}

/** What a key may still use, as far as it is not held by open reservations. */
export function trialLeft(used: { readonly completionTokens: number; readonly paid: Nanoton } | undefined): TrialLeft {
  const { completionTokens = 0, paid = 0n } = used ?? {};
  return {
    completionTokens: Math.max(0, TRIAL.completionTokens - completionTokens),
    nanoton: paid < TRIAL.perKey ? TRIAL.perKey - paid : 0n,
  };
}

/** The /24 or /48 an address belongs to: what one person can easily have many of. */
export function addressBlock(address: string): string {
  const v4 = address.startsWith("::ffff:") ? address.slice(7) : address;
  if (v4.includes(".")) return v4.split(".").slice(0, 3).join(".");
  const [head = "", tail] = address.split("::");
  const groups = head.split(":").filter((group) => group !== "");
  const known = tail === undefined ? groups : [...groups, "0", "0", "0"];
  return known.slice(0, 3).join(":");
}
