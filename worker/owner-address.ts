/**
 * A TON address as people have it, `EQ…`, `UQ…` or `0:hex`, in the raw form the network uses. Undefined when it is none,
 * or lies outside workchain 0: a mistyped address must not become the owner of anybody's earnings.
 */
export function rawAddress(text: string): string | undefined {
  if (/^0:[0-9a-fA-F]{64}$/.test(text)) return text.toLowerCase();
  if (!/^[A-Za-z0-9+/_-]{48}$/.test(text)) return undefined;
  const bytes = Buffer.from(text.replaceAll("-", "+").replaceAll("_", "/"), "base64");
  const [flags = 0, workchain] = bytes;
  const isKnownKind = (flags & ~TEST_ONLY) === BOUNCEABLE || (flags & ~TEST_ONLY) === NON_BOUNCEABLE;
  const isWhole = bytes.length === ADDRESS_BYTES && crc16(bytes.subarray(0, 34)) === bytes.readUInt16BE(34);
  return isKnownKind && isWhole && workchain === 0 ? `0:${bytes.subarray(2, 34).toString("hex")}` : undefined;
}

/** User-friendly form: flags, workchain, 32 bytes of account, CRC-16 (docs.ton.org, "Smart contract addresses"). */
const ADDRESS_BYTES = 36;
const BOUNCEABLE = 0x11;
const NON_BOUNCEABLE = 0x51;
const TEST_ONLY = 0x80;

/** CRC-16/XMODEM. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}
