import { blockId, MASTERCHAIN, SHARD, WORKCHAIN, type ChainBlock } from "./blocks.ts";
import { atHead, idOf, type Method, type NodeSide } from "./method.ts";
import { integerOf, optionalHash, optionalInteger, type Parameters } from "./parameters.ts";
import { Refusal } from "./refusal.ts";
import { base64 } from "./toncenter-format.ts";

/** Blocks, and what the network is configured with. */
export const BLOCK_METHODS: Readonly<Record<string, Method>> = {
  getMasterchainInfo: atHead(({ chain, view }) => {
    const last = blockId(view().head, MASTERCHAIN);
    const init = blockId(chain.state.blocks[0] ?? view().head, MASTERCHAIN);
    return {
      "@type": "blocks.masterchainInfo",
      last: { ...last },
      state_root_hash: last.root_hash,
      init: { ...init, seqno: 0 },
    };
  }),

  getConsensusBlock: atHead(({ view }) => ({ consensus_block: view().head.seqno, timestamp: view().head.genUtime })),

  lookupBlock: (node, parameters) => idOf(...foundBlock(node, parameters)),

  getBlockHeader: (node, parameters) => {
    const [block, workchain] = foundBlock(node, parameters);
    const id = blockId(block, workchain);
    const [root, file] = [optionalHash(parameters, "root_hash"), optionalHash(parameters, "file_hash")];
    if ((root !== undefined && root !== id.root_hash) || (file !== undefined && file !== id.file_hash)) throw noBlock();
    const previous = node.view().block(block.seqno - 1);
    return {
      "@type": "blocks.header",
      id: idOf(block, workchain),
      global_id: node.chain.networkId,
      version: 0,
      flags: 1,
      after_merge: false,
      after_split: false,
      before_split: false,
      want_merge: true,
      want_split: false,
      validator_list_hash_short: 0,
      catchain_seqno: 0,
      min_ref_mc_seqno: Math.max(block.seqno - 1, 0),
      is_key_block: false,
      prev_key_block_seqno: 0,
      start_lt: `${block.seqno}000000`,
      end_lt: `${block.seqno}999999`,
      gen_utime: block.genUtime,
      vert_seqno: 0,
      prev_blocks: previous === undefined ? [] : [idOf(previous, workchain)],
    };
  },

  shards: (node, parameters) => {
    const block = node.view().block(Number(integerOf(parameters, "seqno")));
    if (block === undefined) throw noBlock();
    return { "@type": "blocks.shards", shards: [idOf(block, WORKCHAIN)] };
  },

  getBlockTransactions: (node, parameters) => {
    const [block, workchain] = foundBlock(node, parameters);
    const transactions = workchain === WORKCHAIN ? node.view().transactionsIn(block.seqno) : [];
    return {
      "@type": "blocks.transactions",
      id: idOf(block, workchain),
      req_count: Number(optionalInteger(parameters, "count") ?? 40n),
      incomplete: false,
      transactions: transactions.map(({ address, lt, hash }) => ({
        "@type": "blocks.shortTxId",
        mode: 135,
        account: address,
        lt: lt.toString(),
        hash,
      })),
    };
  },

  getConfigParam: (node, parameters) => {
    const index = Number(integerOf(parameters, "config_id"));
    const slice = node.chain.emulator.parameter(index);
    if (slice === undefined) throw new Refusal(500, `LITE_SERVER_UNKNOWN: no parameter ${index}`);
    return { "@type": "configInfo", config: { "@type": "tvm.cell", bytes: base64(slice) } };
  },
};

function foundBlock({ view }: NodeSide, parameters: Parameters): [block: ChainBlock, workchain: number] {
  const workchain = Number(integerOf(parameters, "workchain"));
  const shard = String(parameters.shard);
  const isOurs = (workchain === MASTERCHAIN || workchain === WORKCHAIN) && SAME_SHARD.has(shard);
  if (!isOurs) throw new Refusal(422, "Validation error: this chain has one shard, and the masterchain");
  const [seqno, utime] = [optionalInteger(parameters, "seqno"), optionalInteger(parameters, "unixtime")];
  if (seqno === undefined && utime === undefined)
    throw new Refusal(422, "Validation error: seqno or unixtime is needed");
  const block = seqno === undefined ? view().blockAt(Number(utime)) : view().block(Number(seqno));
  if (block === undefined) throw noBlock();
  return [block, workchain];
}

/** As numbers with a sign, without, and as JavaScript rounds it. */
const SAME_SHARD = new Set([SHARD, "8000000000000000", "9223372036854775808", "-9223372036854776000"]);

function noBlock(): Refusal {
  return new Refusal(500, "LITE_SERVER_NOTREADY: ltdb: block not found");
}
