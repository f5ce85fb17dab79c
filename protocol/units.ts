/** Money is counted in nanoton (10⁻⁹ TON) as bigint; never a float, never a decimal point before it is shown. */
export type Nanoton = bigint;

const NANO_DIGITS = 9;
const NANO = 10n ** BigInt(NANO_DIGITS);

/** The coin's name on screens. Toncoin was renamed Gram in 2026; the name stands here alone, never in the wire format. */
export const COIN_NAME = "TON";

/** An exact decimal without trailing zeros: 1_500_000_000n → "1.5". For people; the wire carries nanoton as digits. */
export function formatTon(amount: Nanoton): string {
  const sign = amount < 0n ? "-" : "";
  const absolute = amount < 0n ? -amount : amount;
  const fraction = (absolute % NANO).toString().padStart(NANO_DIGITS, "0").replace(/0+$/, "");
  const whole = (absolute / NANO).toString();
  return sign + (fraction === "" ? whole : `${whole}.${fraction}`);
}

/** The inverse of {@link formatTon} for what a person types; undefined when it is not an amount of at most nine decimals. */
export function parseTon(text: string): Nanoton | undefined {
  const match = /^(\d{1,12})(?:[.,](\d{1,9}))?$/.exec(text.trim());
  if (match === null) return undefined;
  const [, whole = "0", fraction = ""] = match;
  return BigInt(whole) * NANO + BigInt(fraction.padEnd(NANO_DIGITS, "0"));
}
