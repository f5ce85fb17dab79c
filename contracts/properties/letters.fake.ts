/** Messages as the twins write them, signed by whoever a test says. */
import { beginCell, type Cell } from "@ton/core";
import type { Nanoton, RawAddress } from "../../protocol/index.ts";
import { payloadCell, toCell } from "../cells.ts";
import { encodeClientChannelMessage, type ClientChannelMessage } from "../ClientChannel.ts";
import { encodeGatewayMessage, type GatewayMessage } from "../Gateway.ts";
import { encodeRegistryMessage, type RegistryMessage } from "../Registry.ts";
import { encodeWorkerChannelMessage } from "../WorkerChannel.ts";
import type { AnyActor, ClientActor, WorkerActor } from "./actors.fake.ts";
import { readBody } from "./bodies.fake.ts";
import type { Signer } from "./signatures.fake.ts";
import type { House, World } from "./world.fake.ts";

/** What is wrong with a payload, or with who signed it. */
export interface Flaw {
  readonly signer?: Signer;
  readonly networkId?: number;
  readonly contract?: RawAddress;
}

export interface ChargeLetter extends Flaw {
  readonly total: Nanoton;
  /** Whose countersignature goes with it. */
  readonly countersigner?: Signer | undefined;
}

export function chargeLetter(world: World, house: House, client: ClientActor, letter: ChargeLetter): Cell {
  const { total, countersigner, signer = house.signer } = letter;
  const envelope = envelopeOf(world, client, letter);
  const voucher = { type: "charge", ...envelope, total, receipt: receipt(world) } as const;
  const cell = payloadCell(voucher);
  return toCell(
    encodeClientChannelMessage({
      type: "charge",
      queryId: queryId(world),
      gatewaySignature: signer.sign(cell),
      clientSignature: countersigner?.sign(cell),
      voucher,
    }),
  );
}

export function closeLetter(
  world: World,
  house: House,
  client: ClientActor,
  letter: Flaw & { readonly total: Nanoton; readonly closeSeq: number },
): Cell {
  const { total, closeSeq, signer = house.signer } = letter;
  const voucher = { type: "close", ...envelopeOf(world, client, letter), total, closeSeq } as const;
  const gatewaySignature = signer.sign(payloadCell(voucher));
  return clientLetter({ type: "close-cooperative", queryId: queryId(world), gatewaySignature, voucher });
}

export function cashOutLetter(
  world: World,
  house: House,
  worker: WorkerActor,
  letter: Flaw & { readonly total: Nanoton; readonly limit?: Nanoton },
): Cell {
  const { total, limit = 0n, signer = house.signer } = letter;
  const voucher = { type: "payout", ...envelopeOf(world, worker, letter), total, receipt: receipt(world) } as const;
  const gatewaySignature = signer.sign(payloadCell(voucher));
  return toCell(
    encodeWorkerChannelMessage({ type: "cash-out", queryId: queryId(world), limit, gatewaySignature, voucher }),
  );
}

export function checkpointLetter(world: World, house: House, letter: Flaw & { readonly seqno: number }): Cell {
  const { seqno, signer = house.signer } = letter;
  const { networkId, channel: gateway } = envelopeOf(world, house.gateway, letter);
  const checkpoint = { type: "checkpoint", networkId, gateway, seqno, stateHash: receipt(world) } as const;
  const gatewaySignature = signer.sign(payloadCell(checkpoint));
  return gatewayLetter({ type: "commit-checkpoint", queryId: queryId(world), gatewaySignature, checkpoint });
}

/** A payload that the right key signed for another purpose, in a message that asks for this one. */
export function misusedLetter(opcode: number, source: Cell): Cell {
  const body = readBody(source);
  if (!("payload" in body)) throw new RangeError("nothing signed");
  const start = beginCell().storeUint(opcode, 32).storeUint(0, 64);
  if (opcode === OPCODE.cashOut) start.storeCoins(0);
  start.storeBuffer(body.signature);
  if (opcode === OPCODE.charge) start.storeBit(false);
  return start.storeRef(body.payload).endCell();
}

export const OPCODE = { cashOut: 0x1c0c0101, charge: 0x1c0c0203, close: 0x1c0c0204, checkpoint: 0x1c0c0306 } as const;

export const clientLetter = (message: ClientChannelMessage): Cell => toCell(encodeClientChannelMessage(message));
export const gatewayLetter = (message: GatewayMessage): Cell => toCell(encodeGatewayMessage(message));
export const registryLetter = (message: RegistryMessage): Cell => toCell(encodeRegistryMessage(message));

export function queryId({ dice }: World): bigint {
  return (BigInt(dice.whole(2 ** 32)) << 32n) | BigInt(dice.whole(2 ** 32));
}

/** 32 bytes that no contract reads. */
export function receipt({ dice }: World): Uint8Array {
  return Uint8Array.from({ length: 32 }, () => dice.whole(256));
}

function envelopeOf(
  { referee }: World,
  actor: AnyActor,
  { networkId = referee.chain.networkId, contract = actor.address }: Flaw,
): { readonly networkId: number; readonly channel: RawAddress } {
  return { networkId, channel: contract };
}
