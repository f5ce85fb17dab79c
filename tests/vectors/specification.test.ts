import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import test from "node:test";
import { AEAD_ChaCha20Poly1305, KDF_HKDF_SHA256, KEM_MLKEM768_X25519 } from "@panva/hpke-noble";
import { CipherSuite } from "hpke";
import { fromHex, toHex } from "../../protocol/index.ts";
import { SESSION_CHECKS, type SessionVector } from "./session-vector.ts";

/** The specification's vectors are other people's data: read where they lie, never committed here. */
const FOLDER = process.env.COCOON_VECTORS ?? resolve(import.meta.dirname, "../../../shared/vectors");

if (existsSync(FOLDER)) {
  const session = read("acn1/session-1.json") as SessionVector;
  for (const [claim, check] of Object.entries(SESSION_CHECKS)) test(`session-1: ${claim}`, () => check(session));
  test("our suite gives the published answers for X-Wing", () =>
    checkHpke(read("hpke/xwing-647a.json") as HpkeVector[]));
} else {
  test("without the specification's vectors the project's own stand alone", (context) => {
    context.diagnostic(`No vectors in ${FOLDER}: set COCOON_VECTORS to their folder to check against them too.`);
    assert.ok(existsSync(new URL("session.json", import.meta.url)));
  });
}

interface HpkeVector {
  readonly kdf_id: number;
  readonly ikmR: string;
  readonly skRm: string;
  readonly pkRm: string;
  readonly enc: string;
  readonly info: string;
  readonly encryptions: readonly { readonly aad: string; readonly ct: string; readonly pt: string }[];
  readonly exports: readonly {
    readonly exporter_context: string;
    readonly L: number;
    readonly exported_value: string;
  }[];
}

/** draft-ietf-hpke-pq, base mode, for the one key derivation ACN/1 uses. */
async function checkHpke(vectors: readonly HpkeVector[]): Promise<void> {
  const ours = vectors.filter((vector) => vector.kdf_id === 1);
  assert.ok(ours.length > 0);
  for (const vector of ours) {
    const suite = new CipherSuite(KEM_MLKEM768_X25519, KDF_HKDF_SHA256, AEAD_ChaCha20Poly1305);
    const pair = await suite.DeriveKeyPair(fromHex(vector.ikmR), true);
    assert.equal(toHex(await suite.SerializePublicKey(pair.publicKey)), vector.pkRm);
    assert.equal(toHex(await suite.SerializePrivateKey(pair.privateKey)), vector.skRm);
    const context = await suite.SetupRecipient(pair, fromHex(vector.enc), { info: fromHex(vector.info) });
    for (const { exporter_context, L, exported_value } of vector.exports)
      assert.equal(toHex(await context.Export(fromHex(exporter_context), L)), exported_value);
    for (const { aad, ct, pt } of vector.encryptions)
      assert.equal(toHex(await context.Open(fromHex(ct), fromHex(aad))), pt);
  }
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(resolve(FOLDER, name), "utf8"));
}
