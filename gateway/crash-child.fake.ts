/** A gateway to be killed: `crash-child.fake.ts FOLDER CHANNEL PAYMENT_KEY_HEX`. Prints where it is, as JSON. */
import { fromHex, toHex } from "../protocol/index.ts";
import { localChannels } from "./channels.ts";
import { startGateway } from "./gateway.ts";

const [, , dataDir = "", channel = "", paymentKey = ""] = process.argv;
const channels = localChannels();
const credit = { balance: 10n ** 15n, charged: 0n, acked: 0n, creditLimit: 10n ** 15n, isClosing: false };
channels.open(channel, { paymentKey: fromHex(paymentKey), ...credit });
const gateway = await startGateway({ dataDir, networkId: -777, channels, verifyOwnerProof: (proof) => proof.address });
const { url, httpUrl, gatewayKey } = gateway;
process.stdout.write(`${JSON.stringify({ url, httpUrl, gatewayKey: toHex(gatewayKey) })}\n`);
