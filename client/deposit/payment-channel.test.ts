import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Address } from "@ton/core";
import { encodeClientChannelMessage } from "../../contracts/ClientChannel.ts";
import { encodeGatewayMessage } from "../../contracts/Gateway.ts";
import type { Nanoton } from "../../protocol/index.ts";
import {
  DAY,
  depositScene,
  HOUR,
  paymentKey,
  TON,
  type DepositScene,
  type SceneOptions,
} from "./deposit-scene.fake.ts";
import type { ChannelOpening } from "./payment-channel.ts";

const OTHER_KEY = new Uint8Array(32).fill(7);

async function opened(overrides: Partial<ChannelOpening> = {}, options: SceneOptions = {}): Promise<DepositScene> {
  const scene = await depositScene(options);
  await scene.channel().open(scene.opening(overrides), scene.wallet);
  return scene;
}

const asked = ({ wallet }: DepositScene): number => wallet.asked.length;

describe("opening", () => {
  test("a deposit is on the chain when it resolves, whole, for the key and limit that were given", async () => {
    const scene = await depositScene();
    const { phase, state, money, record } = await scene.channel().open(scene.opening(), scene.wallet);
    assert.equal(phase, "open");
    assert.deepEqual([state?.balance, state?.creditLimit, state?.closeSeq], [10n * TON, TON, 0]);
    assert.deepEqual(state?.paymentKey, paymentKey.publicKey);
    assert.deepEqual(state.terms, record.terms);
    const deposited = 10n * TON;
    assert.deepEqual(money, { deposited, charged: 0n, promised: 0n, refundable: deposited, guaranteed: 9n * TON });
    assert.equal(record.sent, undefined);
  });

  test("the wallet is asked once, with the contract's code and what is to stay on it", async () => {
    const { wallet, owner } = await opened();
    const [transaction] = wallet.asked;
    const [message] = transaction?.messages ?? [];
    assert.ok(transaction !== undefined && message !== undefined);
    assert.deepEqual([wallet.asked.length, transaction.messages.length], [1, 1]);
    assert.deepEqual([transaction.from, transaction.networkId], [owner, -239]);
    assert.equal(message.amount, String(10n * TON + 70_000_000n));
    assert.equal(Address.parseFriendly(message.address).isBounceable, true);
    assert.ok(message.stateInit !== undefined);
  });

  const REFUSALS: readonly (readonly [what: string, code: string, change: Partial<ChannelOpening>, why: RegExp])[] = [
    ["is below the network's least", "deposit_too_small", { amount: TON / 10n - 1n }, /least is 0\.1 TON/],
    ["would pass the person's cap", "spending_cap", { cap: { inAll: 10n * TON - 1n } }, /9\.999999999 TON of the cap/],
    ["is more than the wallet holds", "wallet_balance", { amount: 1_000_000n * TON }, /of the 1000000\.08 TON/],
    ["is for another owner than the wallet", "wallet_address", { owner: `0:${"0d".repeat(32)}` }, /owner is 0:0d0d/],
  ];
  for (const [what, code, change, why] of REFUSALS) {
    test(`a deposit that ${what} is refused before the wallet is asked`, async () => {
      const scene = await depositScene();
      await assert.rejects(scene.channel().open(scene.opening(change), scene.wallet), { code, message: why });
      assert.equal(asked(scene), 0);
      assert.equal(scene.records.record, undefined);
    });
  }

  test("a gateway that fails a check gets no deposit", async () => {
    const scene = await depositScene({ stake: TON });
    await assert.rejects(scene.channel().open(scene.opening(), scene.wallet), { code: "gateway_stake" });
    assert.equal(asked(scene), 0);
  });

  test("an open channel is not opened a second time, nor for another key", async () => {
    const scene = await opened();
    const again = scene.channel().open(scene.opening({ amount: TON }), scene.wallet);
    await assert.rejects(again, { code: "channel_locked", message: /open already/ });
    const other = scene.channel().open(scene.opening({ amount: TON, paymentKey: OTHER_KEY }), scene.wallet);
    await assert.rejects(other, { code: "channel_locked", message: /another payment key/ });
    assert.equal(asked(scene), 1);
  });

  test("a channel that a stranger topped up before it was opened is opened with what is in it", async () => {
    const scene = await depositScene();
    scene.wallet.habit = "late";
    scene.clock.meanwhile = async () => {
      const [transaction] = scene.wallet.asked;
      const [message] = transaction?.messages ?? [];
      assert.ok(message?.stateInit !== undefined);
      const topUp = { type: "top-up", queryId: 1n, amount: TON } as const;
      await scene.chain.tell({
        from: await scene.chain.test.wallet("other"),
        to: Address.parse(message.address).toRawString(),
        value: 2n * TON,
        body: encodeClientChannelMessage(topUp),
        deploys: {
          address: Address.parse(message.address).toRawString(),
          stateInit: new Uint8Array(Buffer.from(message.stateInit, "base64")),
        },
      });
      await scene.wallet.sendLate();
    };
    const { state } = await scene.channel().open(scene.opening(), scene.wallet);
    assert.equal(state?.balance, 11n * TON);
  });

  test("a folder whose channel still holds coins is given to another owner's only once it is closed", async () => {
    const scene = await opened();
    const others = scene.opening({ owner: scene.stranger.address, amount: TON });
    const early = scene.channel().open(others, scene.stranger);
    await assert.rejects(early, { code: "channel_locked", message: /10 TON are in the folder's channel/ });
    assert.equal(scene.stranger.asked.length, 0);
    await scene.channel().closeWith(scene.agreement(0n), scene.wallet);
    const { record: kept } = await scene.channel().open(others, scene.stranger);
    assert.equal(kept.terms.owner, scene.stranger.address);
  });

  test("what is under way for one owner is not taken for another's", async () => {
    const scene = await depositScene();
    scene.wallet.habit = "wallet_silent";
    await assert.rejects(scene.channel().open(scene.opening(), scene.wallet), { code: "wallet_silent" });
    const others = scene.opening({ owner: scene.stranger.address });
    await assert.rejects(scene.channel().open(others, scene.stranger), { code: "channel_pending" });
  });
});

describe("a wallet that does not send at once", () => {
  test("a person who declines is asked again the next time, and nothing is waited for", async () => {
    const scene = await depositScene();
    scene.wallet.habit = "wallet_declined";
    await assert.rejects(scene.channel().open(scene.opening(), scene.wallet), { code: "wallet_declined" });
    assert.equal(scene.records.record?.sent, undefined);
    scene.wallet.habit = "willing";
    assert.equal((await scene.channel().open(scene.opening(), scene.wallet)).phase, "open");
    assert.deepEqual([asked(scene), scene.clock.pauses.length], [2, 0]);
  });

  test("a deposit that is confirmed late is waited for", async () => {
    const scene = await depositScene();
    scene.wallet.habit = "late";
    let pauses = 0;
    scene.clock.meanwhile = async () => {
      if (++pauses === 20) await scene.wallet.sendLate();
    };
    assert.equal((await scene.channel().open(scene.opening(), scene.wallet)).phase, "open");
    assert.equal(pauses, 20);
  });

  test("a deposit that is never confirmed lapses, and is asked for anew", async () => {
    const scene = await depositScene();
    scene.wallet.habit = "late";
    await assert.rejects(scene.channel().open(scene.opening(), scene.wallet), { code: "wallet_silent" });
    assert.equal(scene.records.record?.sent, undefined);
    scene.wallet.habit = "willing";
    assert.equal((await scene.channel().open(scene.opening(), scene.wallet)).phase, "open");
  });

  test("what a wallet may have sent although it did not answer is found, and not sent twice", async () => {
    const scene = await opened();
    scene.wallet.habit = "wallet_silent";
    await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code: "wallet_silent" });
    const [, transaction] = scene.wallet.asked;
    assert.ok(transaction !== undefined);
    scene.wallet.habit = "willing";
    await scene.wallet.sendTransaction(transaction); // the person confirms after all
    const { state } = await scene.channel().topUp(TON, scene.wallet);
    assert.equal(state?.balance, 11n * TON);
    assert.equal(asked(scene), 3);
  });

  test("a program that was killed after the wallet was asked goes on by what the chain shows", async () => {
    const scene = await depositScene();
    scene.wallet.habit = "late";
    const killed = new AbortController();
    scene.clock.meanwhile = () => killed.abort(new Error("killed"));
    const before = scene.channel({ signal: killed.signal }).open(scene.opening(), scene.wallet);
    await assert.rejects(before, /killed/);
    scene.clock.meanwhile = () => scene.wallet.sendLate();
    assert.equal((await scene.channel().open(scene.opening(), scene.wallet)).state?.balance, 10n * TON);
    assert.equal(asked(scene), 1);
  });

  test("while one order is under way another is not sent", async () => {
    const scene = await opened();
    scene.wallet.habit = "wallet_silent";
    await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code: "wallet_silent" });
    const other = scene.channel().setCreditLimit(2n * TON, scene.wallet);
    await assert.rejects(other, { code: "channel_pending", message: /top-up, until 2026-/ });
    await assert.rejects(scene.channel().topUp(2n * TON, scene.wallet), { code: "channel_pending" });
    scene.chain.advance(HOUR);
    scene.wallet.habit = "willing";
    assert.equal((await scene.channel().setCreditLimit(2n * TON, scene.wallet)).state?.creditLimit, 2n * TON);
  });

  test("two orders at once are two orders, one after the other", async () => {
    const scene = await opened();
    const channel = scene.channel();
    await Promise.all([channel.topUp(TON, scene.wallet), channel.topUp(TON, scene.wallet)]);
    assert.equal((await channel.look()).state?.balance, 12n * TON);
  });
});

describe("a chain that is in trouble", () => {
  for (const code of ["chain_unreachable", "chain_lagging", "chain_other_network"] as const) {
    test(`nothing is sent while it is ${code}`, async () => {
      const scene = await opened();
      scene.chain.fail(code);
      await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code });
      assert.equal(asked(scene), 1);
    });
  }

  test("what was sent is looked for until the chain answers again", async () => {
    const scene = await opened();
    const lines: string[] = [];
    scene.wallet.habit = "late";
    let pauses = 0;
    scene.clock.meanwhile = async () => {
      if (++pauses === 1) {
        await scene.wallet.sendLate();
        scene.chain.fail("chain_unreachable");
      }
      if (pauses === 30) scene.chain.fail(undefined);
    };
    const { state } = await scene.channel({ log: (line) => lines.push(line) }).topUp(TON, scene.wallet);
    assert.equal(state?.balance, 11n * TON);
    assert.deepEqual(lines, ["chain_unreachable: asking again until the chain says what became of it"]);
  });
});

describe("topping up", () => {
  test("a channel that was never opened takes nothing", async () => {
    const scene = await depositScene();
    await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code: "channel_missing" });
  });

  test("anyone's wallet may pay, and every nanoton arrives", async () => {
    const scene = await opened();
    const { money } = await scene.channel().topUp(1_234_567_891n, scene.stranger);
    assert.equal(money?.deposited, 11_234_567_891n);
  });

  test("what would come back from a closing channel is refused before it is sent", async () => {
    const scene = await opened();
    await scene.channel().closeAlone(scene.wallet);
    const before = asked(scene);
    await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code: "channel_closing", message: /2026-/ });
    scene.chain.advance(DAY);
    await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code: "channel_closing" });
    await assert.rejects(scene.channel().open(scene.opening(), scene.wallet), { code: "channel_closing" });
    assert.equal(asked(scene), before);
  });

  test("a channel that began to close while the wallet was asked sends the coins back, and it is said why", async () => {
    const scene = await opened();
    scene.wallet.habit = "late";
    scene.clock.meanwhile = async () => {
      const startClose = encodeClientChannelMessage({ type: "start-close", queryId: 9n });
      const to = scene.records.record?.address ?? "";
      await scene.chain.tell({ from: await scene.chain.test.wallet("payer"), to, value: TON, body: startClose });
      await scene.wallet.sendLate();
    };
    await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code: "chain_refused", message: /is closing/ });
    assert.equal((await scene.channel().look()).state?.balance, 10n * TON);
    assert.equal(scene.records.record?.sent, undefined);
  });

  test("the cap counts what was charged, and can be raised", async () => {
    const scene = await opened({ cap: { inAll: 12n * TON } });
    await scene.charge(4n * TON);
    await assert.rejects(scene.channel().topUp(2n * TON + 1n, scene.wallet), { code: "spending_cap" });
    scene.channel().setCap({ inAll: 12n * TON + 1n });
    assert.equal((await scene.channel().topUp(2n * TON + 1n, scene.wallet)).money?.deposited, 12n * TON + 1n);
  });

  test("a gateway that began to close is sent no more", async () => {
    const scene = await opened();
    const body = encodeGatewayMessage({ type: "start-close", queryId: 1n });
    const from = await scene.chain.test.wallet("operator");
    await scene.chain.tell({ from, to: scene.gateway.address, value: TON, body });
    await assert.rejects(scene.channel().topUp(TON, scene.wallet), { code: "gateway_closing" });
    assert.equal(asked(scene), 1);
  });
});

describe("the credit limit", () => {
  test("is raised at any time, and lowered only while there is no deposit", async () => {
    const scene = await opened();
    const channel = scene.channel();
    assert.equal((await channel.setCreditLimit(3n * TON, scene.wallet)).state?.creditLimit, 3n * TON);
    await assert.rejects(channel.setCreditLimit(3n * TON - 1n, scene.wallet), {
      code: "channel_locked",
      message: /limit is 3 TON/,
    });
    const before = asked(scene);
    await channel.setCreditLimit(3n * TON, scene.wallet);
    assert.equal(asked(scene), before);
    await channel.closeWith(scene.agreement(0n), scene.wallet);
    assert.equal((await channel.setCreditLimit(1n, scene.wallet)).state?.creditLimit, 1n);
  });

  test("is the owner's to set", async () => {
    const scene = await opened();
    await assert.rejects(scene.channel().setCreditLimit(2n * TON, scene.stranger), { code: "wallet_address" });
  });
});

describe("closing", () => {
  /** What a wallet has after an act, its own and the chain's fees given back: what the act brought. */
  async function broughtBy(scene: DepositScene, act: () => Promise<{ refund?: { amount: Nanoton } | undefined }>) {
    const before = await scene.chain.test.balanceOf(scene.owner);
    const { refund } = await act();
    return { refund: refund?.amount ?? 0n, gained: (await scene.chain.test.balanceOf(scene.owner)) - before };
  }

  test("with the gateway's word brings back at once all that was not charged", async () => {
    const scene = await opened();
    await scene.charge(3n * TON);
    scene.countersigned = 4n * TON;
    const { money } = await scene.channel().look();
    assert.deepEqual(
      [money?.deposited, money?.charged, money?.promised, money?.refundable],
      [10n * TON, 3n * TON, TON, 6n * TON],
    );
    const { refund, gained } = await broughtBy(scene, async () => {
      const closed = await scene.channel().closeWith(scene.agreement(4n * TON), scene.wallet);
      return closed;
    });
    // The refund brings back what the message did not need, too: some thousandths of the 0.05 TON that came with it.
    assert.ok(refund > 6n * TON && refund <= 6n * TON + 50_000_000n, `${refund}`);
    assert.ok(gained > 6n * TON - 10_000_000n && gained < 6n * TON, `${gained}`);
    const after = await scene.channel().look();
    assert.equal(after.phase, "empty");
    assert.deepEqual([after.state?.charged, after.state?.balance, after.state?.closeSeq], [4n * TON, 0n, 1]);
  });

  test("a gateway's word for an earlier opening closes nothing", async () => {
    const scene = await opened();
    await scene.channel().closeWith(scene.agreement(0n), scene.wallet);
    await scene.channel().open(scene.opening(), scene.wallet);
    const stale = scene.channel().closeWith(scene.agreement(0n, 0), scene.wallet);
    await assert.rejects(stale, { code: "chain_refused", message: /earlier opening/ });
    assert.equal((await scene.channel().look()).phase, "open");
  });

  test("alone takes a start, the delay and a finish, each of which can be asked for again", async () => {
    const scene = await opened();
    const channel = scene.channel();
    const started = await channel.closeAlone(scene.wallet);
    const until = scene.chain.test.now() + DAY;
    assert.deepEqual(started, { type: "closing", until });
    assert.deepEqual(await channel.closeAlone(scene.wallet), { type: "closing", until });
    assert.equal(asked(scene), 2);
    scene.chain.advance(DAY);
    assert.equal((await channel.look()).phase, "closable");
    const { refund } = await broughtBy(scene, async () => {
      const closed = await channel.closeAlone(scene.wallet);
      assert.ok(closed.type === "closed");
      return closed;
    });
    assert.ok(refund > 10n * TON && refund <= 10n * TON + 50_000_000n, `${refund}`);
    assert.deepEqual(await channel.closeAlone(scene.wallet), { type: "closed", refund: undefined });
    assert.deepEqual((await channel.look()).money, {
      deposited: 0n,
      charged: 0n,
      promised: 0n,
      refundable: 0n,
      guaranteed: 0n,
    });
  });

  test("alone may be finished by anyone, and the coins still go to the owner", async () => {
    const scene = await opened();
    await scene.channel().closeAlone(scene.wallet);
    scene.chain.advance(DAY);
    const { gained } = await broughtBy(scene, async () => {
      await scene.channel().closeAlone(scene.stranger);
      return {};
    });
    assert.ok(gained > 10n * TON, `${gained}`);
  });

  test("a gateway that cheats gets what was countersigned and the credit limit, and not a nanoton more", async () => {
    const scene = await opened();
    await scene.charge(2n * TON);
    scene.countersigned = 2n * TON;
    const { money } = await scene.channel().look();
    assert.deepEqual([money?.refundable, money?.guaranteed], [8n * TON, 7n * TON]);
    await scene.channel().closeAlone(scene.wallet);
    await scene.charge(3n * TON + 1n, "gateway");
    assert.equal((await scene.channel().look()).state?.charged, 2n * TON);
    await scene.charge(3n * TON, "gateway");
    scene.chain.advance(DAY);
    const { refund } = await broughtBy(scene, async () => {
      const closed = await scene.channel().closeAlone(scene.wallet);
      return closed.type === "closed" ? closed : {};
    });
    assert.ok(refund >= 7n * TON && refund <= 7n * TON + 50_000_000n, `${refund}`);
  });

  test("a program that was killed between start and finish goes on where the chain is", async () => {
    const scene = await opened();
    scene.wallet.habit = "wallet_silent";
    await assert.rejects(scene.channel().closeAlone(scene.wallet), { code: "wallet_silent" });
    const [, transaction] = scene.wallet.asked;
    assert.ok(transaction !== undefined);
    scene.wallet.habit = "willing";
    await scene.wallet.sendTransaction(transaction);
    assert.equal((await scene.channel().closeAlone(scene.wallet)).type, "closing");
    scene.chain.advance(DAY);
    scene.wallet.habit = "wallet_silent";
    await assert.rejects(scene.channel().closeAlone(scene.wallet), { code: "wallet_silent" });
    const finish = scene.wallet.asked.at(-1);
    assert.ok(finish !== undefined);
    scene.wallet.habit = "willing";
    await scene.wallet.sendTransaction(finish);
    const closed = await scene.channel().closeAlone(scene.wallet);
    assert.ok(closed.type === "closed" && (closed.refund?.amount ?? 0n) > 10n * TON);
  });

  test("a channel that was closed is opened again with another key, and its totals go on", async () => {
    const scene = await opened();
    await scene.channel().closeWith(scene.agreement(4n * TON), scene.wallet);
    const again = scene.opening({ amount: 5n * TON, paymentKey: OTHER_KEY, creditLimit: 1n });
    const { state, record: kept, money } = await scene.channel().open(again, scene.wallet);
    assert.deepEqual(state?.paymentKey, OTHER_KEY);
    assert.deepEqual([state.charged, state.balance, state.creditLimit], [4n * TON, 5n * TON, 1n]);
    assert.deepEqual([kept.chargedBefore, money?.deposited], [4n * TON, 9n * TON]);
    const [, , reopening] = scene.wallet.asked;
    assert.equal(reopening?.messages[0]?.stateInit, undefined);
  });
});
