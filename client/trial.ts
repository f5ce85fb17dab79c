import type { Nanoton } from "../protocol/index.ts";

/** What a client without a channel may still use: whichever is reached first ends it. */
export interface TrialLeft {
  readonly completionTokens: number;
  readonly nanoton: Nanoton;
}

/** After an answer: the gateway takes no fee of its own trial. */
export function trialAfter(left: TrialLeft, completionTokens: number, earned: Nanoton): TrialLeft {
  return {
    completionTokens: Math.max(0, left.completionTokens - completionTokens),
    nanoton: earned < left.nanoton ? left.nanoton - earned : 0n,
  };
}
