// An LDK node on regtest, driven by a test over standard input and output.
//
//   node node.mjs SEED_HEX ANCHORS(0|1) FEERATE_PER_KW
//
// One JSON request per line, {id, command, ...}; one JSON line per answer, {id, result} or
// {id, error}, and per event, {event, ...}. The chain is with the test: it feeds blocks with
// `block` and publishes what `broadcast` events carry. LDK's log goes to standard error.

import * as fs from "node:fs";
import * as readline from "node:readline";
import { fileURLToPath } from "node:url";
import * as ldk from "lightningdevkit";
import { NodeLDKNet } from "lightningdevkit-node-net";
import { Coins } from "./coins.mjs";

console.log = console.error; // the library greets on standard output

const [seedHex, anchorsFlag, feerateText] = process.argv.slice(2);
const ANCHORS = anchorsFlag === "1";
const LOWEST_FEERATE_PER_KW = 253;
const HIGHEST_FEERATE_PER_KW = 50_000;
const INVOICE_EXPIRY_SECONDS = 3600;
const PUMP_MILLISECONDS = 5;

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const unhex = (text) => new Uint8Array(Buffer.from(text, "hex"));
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");
const tell = (event, details = {}) => say({ event, ...details });

function check(result, what) {
  if (!result.is_ok()) {
    const error = result.err;
    throw new Error(`${what}: ${error?.err ?? error?.constructor?.name ?? error}`);
  }
  return result.res;
}

const option = (value) => value.some ?? null; // every Option_*_Some has `some`

function bitsOf(features) {
  const bits = [];
  features.le_flags().forEach((byte, index) => {
    for (let bit = 0; bit < 8; bit++) if ((byte >> bit) & 1) bits.push(8 * index + bit);
  });
  return bits;
}

// --- the parts ---------------------------------------------------------------------------
await ldk.initializeWasmFromBinary(fs.readFileSync(
  fileURLToPath(import.meta.resolve("lightningdevkit/liblightningjs.wasm"))));

let feerate = Number(feerateText);
const feeEstimator = ldk.FeeEstimator.new_impl({
  get_est_sat_per_1000_weight(target) {
    switch (target) {
      case ldk.ConfirmationTarget.LDKConfirmationTarget_AnchorChannelFee:
      case ldk.ConfirmationTarget.LDKConfirmationTarget_NonAnchorChannelFee:
      case ldk.ConfirmationTarget.LDKConfirmationTarget_UrgentOnChainSweep:
        return feerate;
      case ldk.ConfirmationTarget.LDKConfirmationTarget_MaximumFeeEstimate:
        return HIGHEST_FEERATE_PER_KW;
      default:
        return LOWEST_FEERATE_PER_KW;
    }
  },
});
const broadcaster = ldk.BroadcasterInterface.new_impl({
  broadcast_transactions(transactions) {
    tell("broadcast", { transactions: transactions.map(hex) });
  },
});
const logger = ldk.Logger.new_impl({
  log(record) {
    if (record.get_level() >= ldk.Level.LDKLevel_Debug) {
      process.stderr.write(`${record.get_module_path()}: ${record.get_args()}\n`);
    }
  },
});
const completed = ldk.ChannelMonitorUpdateStatus.LDKChannelMonitorUpdateStatus_Completed;
const persister = ldk.Persist.new_impl({
  persist_new_channel: () => completed,
  update_persisted_channel: () => completed,
  archive_persisted_channel: () => {},
});
const chainMonitor = ldk.ChainMonitor.constructor_new(
  ldk.Option_FilterZ.constructor_none(), broadcaster, logger, feeEstimator, persister);

const now = Math.floor(Date.now() / 1000);
const keys = ldk.KeysManager.constructor_new(unhex(seedHex), BigInt(now), 0);
const network = ldk.Network.LDKNetwork_Regtest;
const graph = ldk.NetworkGraph.constructor_new(network, logger);
const scorer = ldk.ProbabilisticScorer.constructor_new(
  ldk.ProbabilisticScoringDecayParameters.constructor_default(), graph, logger);
const score = ldk.MultiThreadedLockableScore.constructor_new(scorer.as_Score());
const router = ldk.DefaultRouter.constructor_new(
  graph, logger, keys.as_EntropySource(), score.as_LockableScore(),
  ldk.ProbabilisticScoringFeeParameters.constructor_default());
const messageRouter = ldk.DefaultMessageRouter.constructor_new(graph, keys.as_EntropySource());

const config = ldk.UserConfig.constructor_default();
const handshake = ldk.ChannelHandshakeConfig.constructor_default();
handshake.set_minimum_depth(1);
handshake.set_max_inbound_htlc_value_in_flight_percent_of_channel(100);
handshake.set_negotiate_anchors_zero_fee_htlc_tx(ANCHORS);
config.set_channel_handshake_config(handshake);
const limits = ldk.ChannelHandshakeLimits.constructor_default();
limits.set_force_announced_channel_preference(false);
config.set_channel_handshake_limits(limits);
config.set_manually_accept_inbound_channels(true); // LDK wants a say where anchors need coins

const manager = ldk.ChannelManager.constructor_new(
  feeEstimator, chainMonitor.as_Watch(), broadcaster, router.as_Router(),
  messageRouter.as_MessageRouter(), logger, keys.as_EntropySource(), keys.as_NodeSigner(),
  keys.as_SignerProvider(), config,
  ldk.ChainParameters.constructor_new(network, ldk.BestBlock.constructor_from_network(network)),
  now);
const coins = new Coins(keys);
const bumper = ldk.BumpTransactionEventHandler.constructor_new(
  broadcaster, ldk.Wallet.constructor_new(coins.source(), logger).as_CoinSelectionSource(),
  keys.as_SignerProvider(), logger);

const customMessages = []; // to be sent
const ignorer = ldk.IgnoringMessageHandler.constructor_new();
const customHandler = ldk.CustomMessageHandler.new_impl({
  handle_custom_message: () => ldk.Result_NoneLightningErrorZ.constructor_ok(),
  get_and_clear_pending_msg: () => customMessages.splice(0),
  peer_disconnected: () => {},
  peer_connected: () => ldk.Result_NoneNoneZ.constructor_ok(),
  provided_node_features: () => ldk.NodeFeatures.constructor_empty(),
  provided_init_features: () => ldk.InitFeatures.constructor_empty(),
}, {
  // Told, and left to LDK as unknown. The binding hands the type over as a signed number.
  read(type, buffer) {
    tell("custom_message", { type: type & 0xffff, payload: hex(buffer) });
    return ldk.Result_COption_TypeZDecodeErrorZ.constructor_ok(
      ldk.Option_TypeZ.constructor_none());
  },
});
const peers = ldk.PeerManager.constructor_new(
  manager.as_ChannelMessageHandler(), ignorer.as_RoutingMessageHandler(),
  ignorer.as_OnionMessageHandler(), customHandler, now,
  keys.as_EntropySource().get_secure_random_bytes(), logger, keys.as_NodeSigner());
const net = new NodeLDKNet(peers);

// --- events ------------------------------------------------------------------------------
let holding = false; // payments wait for `claim` or `fail`
const preimages = new Map(); // payment hash -> preimage of ours
const pending = [];
const collector = ldk.EventHandler.new_impl({
  handle_event(event) {
    pending.push(event);
    return ldk.Result_NoneReplayEventZ.constructor_ok();
  },
});

function act(event) {
  if (event instanceof ldk.Event_OpenChannelRequest) {
    tell("open_request", { channel_type: bitsOf(event.channel_type) });
    check(manager.accept_inbound_channel(
      event.temporary_channel_id, event.counterparty_node_id, 0n), "accept");
  } else if (event instanceof ldk.Event_FundingGenerationReady) {
    const tx = coins.fund(event.output_script, event.channel_value_satoshis);
    check(manager.funding_transaction_generated(
      event.temporary_channel_id, event.counterparty_node_id, tx), "funding");
  } else if (event instanceof ldk.Event_ChannelReady) {
    tell("channel_ready", {
      channel_id: hex(event.channel_id.get_a()), channel_type: bitsOf(event.channel_type) });
  } else if (event instanceof ldk.Event_ChannelClosed) {
    tell("channel_closed", {
      channel_id: hex(event.channel_id.get_a()), reason: event.reason.to_str() });
  } else if (event instanceof ldk.Event_PendingHTLCsForwardable) {
    manager.process_pending_htlc_forwards();
  } else if (event instanceof ldk.Event_PaymentClaimable) {
    const hash = hex(event.payment_hash);
    preimages.set(hash, option(event.purpose.payment_preimage));
    tell("payment_claimable", { payment_hash: hash, amount_msat: Number(event.amount_msat) });
    if (!holding) manager.claim_funds(preimages.get(hash));
  } else if (event instanceof ldk.Event_PaymentClaimed) {
    tell("payment_claimed", {
      payment_hash: hex(event.payment_hash), amount_msat: Number(event.amount_msat) });
  } else if (event instanceof ldk.Event_PaymentSent) {
    tell("payment_sent", {
      payment_hash: hex(event.payment_hash), preimage: hex(event.payment_preimage) });
  } else if (event instanceof ldk.Event_PaymentFailed) {
    tell("payment_failed", {
      payment_id: hex(event.payment_id), reason: ldk.PaymentFailureReason[event.reason.some] });
  } else if (event instanceof ldk.Event_SpendableOutputs) {
    tell("spendable_outputs", { count: event.outputs.length });
    tell("broadcast", { transactions: [hex(coins.sweep(event.outputs))] });
  } else if (event instanceof ldk.Event_BumpTransaction) {
    bumper.handle_event(event.bump_transaction);
  }
}

// Handles what LDK has to tell, and lets it say to peers what follows.
function pump() {
  do {
    pending.splice(0).forEach(act);
    manager.as_EventsProvider().process_pending_events(collector);
    chainMonitor.as_EventsProvider().process_pending_events(collector);
  } while (pending.length > 0);
  net.process_events();
}

// --- commands ----------------------------------------------------------------------------
const channelId = (request) => ldk.ChannelId.constructor_new(unhex(request.channel_id));

function describe(channel) {
  const htlcs = (list) => list.map((htlc) => hex(htlc.get_payment_hash()));
  return {
    channel_id: hex(channel.get_channel_id().get_a()),
    channel_type: bitsOf(channel.get_channel_type()),
    usable: channel.get_is_usable(),
    capacity_sat: Number(channel.get_channel_value_satoshis()),
    feerate_per_kw: option(channel.get_feerate_sat_per_1000_weight()),
    // LDK reports what it can spend: without the reserve.
    outbound_msat: Number(channel.get_outbound_capacity_msat()),
    inbound_msat: Number(channel.get_inbound_capacity_msat()),
    reserve_sat: Number(option(channel.get_unspendable_punishment_reserve())),
    inbound_htlcs: htlcs(channel.get_pending_inbound_htlcs()),
    outbound_htlcs: htlcs(channel.get_pending_outbound_htlcs()),
  };
}

const commands = {
  // Hex of the header, and [index, hex] of each transaction.
  block({ height, header, transactions }) {
    const data = transactions.map(([index, tx]) =>
      ldk.TwoTuple_usizeTransactionZ.constructor_new(index, unhex(tx)));
    for (const confirm of [manager.as_Confirm(), chainMonitor.as_Confirm()]) {
      confirm.transactions_confirmed(unhex(header), data, height);
      confirm.best_block_updated(unhex(header), height);
    }
  },
  // An output of the test's making that pays to our script; internal byte order.
  coin: ({ txid, vout, value_sat }) => coins.add(unhex(txid), vout, value_sat),
  feerate({ feerate_per_kw }) {
    feerate = feerate_per_kw;
    manager.timer_tick_occurred();
  },
  peers: () => peers.list_peers().map((peer) => hex(peer.get_counterparty_node_id())),
  connect: ({ node_id, host, port }) => net.connect_peer(host, port, unhex(node_id)),
  disconnect: ({ node_id }) => peers.disconnect_by_node_id(unhex(node_id)),
  send_custom({ node_id, type, payload }) {
    customMessages.push(ldk.TwoTuple_PublicKeyTypeZ.constructor_new(
      unhex(node_id), ldk.Type.new_impl({
        type_id: () => type, debug_str: () => "custom", write: () => unhex(payload) })));
  },
  open({ node_id, funding_sat, push_msat }) {
    const made = manager.create_channel(
      unhex(node_id), BigInt(funding_sat), BigInt(push_msat), 0n, null, null);
    return hex(check(made, "create_channel").get_a());
  },
  channels: () => manager.list_channels().map(describe),
  invoice({ amount_msat }) {
    const description = check(ldk.Description.constructor_new("a call"), "description");
    return check(manager.create_bolt11_invoice(
      ldk.Option_u64Z.constructor_some(BigInt(amount_msat)),
      ldk.Bolt11InvoiceDescription.constructor_direct(description),
      ldk.Option_u32Z.constructor_some(INVOICE_EXPIRY_SECONDS),
      ldk.Option_u16Z.constructor_none(),
      ldk.Option_ThirtyTwoBytesZ.constructor_none()), "invoice").to_str();
  },
  pay({ bolt11, payment_id }) {
    const invoice = check(ldk.Bolt11Invoice.constructor_from_str(bolt11), "invoice");
    const parameters = check(
      ldk.UtilMethods.constructor_payment_parameters_from_invoice(invoice), "parameters");
    check(manager.send_payment(
      parameters.get_a(), parameters.get_b(), unhex(payment_id), parameters.get_c(),
      ldk.Retry.constructor_attempts(0)), "send_payment");
  },
  // How many outputs on chain, or channels, are still to be resolved.
  unresolved: () => chainMonitor.get_claimable_balances([]).length,
  hold: ({ on }) => { holding = on; },
  claim: ({ payment_hash }) => manager.claim_funds(preimages.get(payment_hash)),
  fail: ({ payment_hash }) => manager.fail_htlc_backwards(unhex(payment_hash)),
  close: (request) =>
    check(manager.close_channel(channelId(request), unhex(request.node_id)), "close"),
  force_close: (request) => check(manager.force_close_broadcasting_latest_txn(
    channelId(request), unhex(request.node_id), "closed by a test"), "force_close"),
};

async function answer(line) {
  const { id, command, ...request } = JSON.parse(line);
  try {
    const result = await commands[command](request);
    pump();
    say({ id, result: result ?? null });
  } catch (error) {
    say({ id, error: String(error) });
  }
}

await net.bind_listener("127.0.0.1", 0);
setInterval(pump, PUMP_MILLISECONDS);
const lines = readline.createInterface({ input: process.stdin });
lines.on("line", answer);
lines.on("close", () => process.exit(0));
tell("listening", {
  node_id: hex(manager.get_our_node_id()),
  port: net.servers[0].address().port,
  script: hex(coins.script),
});
