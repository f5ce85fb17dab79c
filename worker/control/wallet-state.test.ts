import assert from "node:assert/strict";
import test from "node:test";
import { nextWallet, type WalletEvent, type WalletState } from "./wallet-state.ts";

const NOW = 1_790_000_000_000;
const ADDRESS = `0:${"11".repeat(32)}`;
const CHANNEL = `0:${"22".repeat(32)}`;

const LINK: WalletEvent = { type: "asked-to-connect", link: "tc://?v=2", walletName: undefined, until: NOW + 300_000 };
const CONNECTED: WalletEvent = {
  type: "connected",
  address: ADDRESS,
  walletName: "Tonkeeper",
  networkId: -239,
  isKept: true,
};
const FAILED: WalletEvent = { type: "failed", code: "wallet_declined", message: "declined", at: NOW };
const ASKED: WalletEvent = { type: "asked", nanoton: 3n, channels: [CHANNEL], until: NOW + 300_000 };
const ACCEPTED: WalletEvent = { type: "accepted", at: NOW, messageHash: "ab" };

function after(...events: readonly WalletEvent[]): WalletState {
  return events.reduce<WalletState>(nextWallet, { phase: "disconnected" });
}

const connected = after(LINK, CONNECTED);

test("a link leads to a connection, or to why there is none", () => {
  assert.equal(after(LINK).phase, "connecting");
  assert.equal(connected.phase, "connected");
  assert.deepEqual(after(LINK, FAILED), { phase: "failing", code: "wallet_declined", message: "declined" });
  assert.deepEqual(after(LINK, { type: "given-up" }), { phase: "disconnected" });
});

test("a failure is forgotten with the next attempt, or by the owner's wish", () => {
  assert.equal(after(LINK, FAILED, LINK).phase, "connecting");
  assert.equal(after(LINK, FAILED, { type: "ended" }).phase, "disconnected");
});

test("while another wallet is asked, the connected one stays in the back and returns", () => {
  const asking = nextWallet(connected, LINK);
  assert.ok(asking.phase === "connecting" && asking.former === connected);
  assert.equal(nextWallet(asking, { type: "given-up" }), connected);
  const declined = nextWallet(asking, FAILED);
  assert.ok(declined.phase === "connected" && declined.request.phase === "failed");
  const twice = nextWallet(nextWallet(asking, LINK), { type: "given-up" });
  assert.equal(twice, connected);
  const gone = nextWallet(asking, { type: "ended" });
  assert.ok(gone.phase === "connecting" && gone.former === undefined);
});

test("a request goes from asked to accepted, never to paid: that the chain says", () => {
  const asked = nextWallet(connected, ASKED);
  assert.ok(asked.phase === "connected" && asked.request.phase === "asking");
  const accepted = nextWallet(asked, ACCEPTED);
  assert.ok(accepted.phase === "connected");
  assert.deepEqual(accepted.request, {
    phase: "accepted",
    nanoton: 3n,
    channels: [CHANNEL],
    at: NOW,
    messageHash: "ab",
  });
  const failed = nextWallet(asked, { ...FAILED, type: "not-accepted" });
  assert.ok(failed.phase === "connected" && failed.request.phase === "failed");
});

test("what does not belong to a state changes nothing", () => {
  const noRequest = connected;
  assert.deepEqual(nextWallet(noRequest, ACCEPTED), noRequest);
  for (const event of [ASKED, ACCEPTED, { ...FAILED, type: "not-accepted" }] as const) {
    assert.equal(after(LINK, event).phase, "connecting");
    assert.deepEqual(after(event), { phase: "disconnected" });
  }
  for (const event of [
    { type: "reachable", isReachable: false },
    { type: "kept", isKept: false },
    { type: "given-up" },
  ] as const) {
    assert.deepEqual(after(event), { phase: "disconnected" });
  }
  assert.equal(nextWallet(connected, { type: "given-up" }), connected);
});

test("whether the bridge answers is shown while a wallet is asked and after", () => {
  for (const state of [after(LINK), connected]) {
    const now = nextWallet(state, { type: "reachable", isReachable: false });
    assert.ok((now.phase === "connecting" || now.phase === "connected") && !now.isReachable);
  }
});
