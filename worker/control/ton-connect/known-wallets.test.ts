import assert from "node:assert/strict";
import test from "node:test";
import { KNOWN_WALLETS } from "./known-wallets.ts";

const PLATFORMS = ["ios", "android", "chrome", "firefox", "safari", "macos", "windows", "linux"];

test("the best known wallets are there, each once", () => {
  const names = KNOWN_WALLETS.map(({ appName }) => appName);
  assert.equal(new Set(names).size, names.length);
  for (const name of ["tonkeeper", "mytonwallet", "telegram-wallet", "tonhub", "okxWallet", "bitgetTonWallet"])
    assert.ok(names.includes(name), name);
});

for (const wallet of KNOWN_WALLETS) {
  test(`${wallet.name} is reached by https alone, on platforms there are`, () => {
    for (const url of [wallet.aboutUrl, wallet.universalLink, wallet.bridgeUrl])
      assert.equal(new URL(url).protocol, "https:", url);
    assert.equal(new URL(wallet.bridgeUrl).search, "");
    assert.ok(wallet.platforms.length > 0 && wallet.platforms.every((platform) => PLATFORMS.includes(platform)));
    assert.ok(wallet.maxMessages >= 1 && wallet.maxMessages <= 255);
  });
}
