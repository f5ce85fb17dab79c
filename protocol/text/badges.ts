import type { Tier } from "../evidence/document.ts";

/** The fixed words for what a tier does and does not protect (ACN/1 §3.7). They are never rounded up. */
export const TIER_BADGES: Readonly<Record<Tier, string>> = {
  tee: "Hardware-isolated: the operator cannot read it without physically attacking the chip",
  tpm: "Identified PC: the operator can read your prompt",
  software: "Encrypted in transit only: your prompt can be read by the operator",
};

/** The badge of a worker; an upstream engine adds who else reads along. */
export function badgeOf(tier: Tier, backend: string): string {
  return backend === "upstream" ? `${TIER_BADGES[tier]} and by the operator's cluster` : TIER_BADGES[tier];
}
