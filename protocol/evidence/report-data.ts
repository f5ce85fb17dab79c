import { sha512 } from "@noble/hashes/sha2.js";
import { concat, label } from "../bytes.ts";

/** 64 bytes for the report_data of a TDX or SNP quote: binds the quote to these exact claims (ACN/1 §3.2). */
export function reportDataOf(claimsBytes: Uint8Array): Uint8Array {
  return sha512(concat(label("report-data"), claimsBytes));
}
